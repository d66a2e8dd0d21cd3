"""The model families by name; a new family is one file here and one line in `FAMILIES`."""

from monitor.errors import InvalidConfiguration
from training.models import (
    adversarial,
    conv,
    cross,
    denoising,
    dense,
    forecast,
    kernel,
    overcomplete,
    pca,
    recurrent,
    sparse,
    subspace,
    tcn,
    transformer,
    variational,
)
from training.models.base import Family, Shape

__all__ = ["AUTO", "ENSEMBLE", "FAMILIES", "OVER_FAMILIES", "Family", "Shape", "family_named"]

FAMILIES: dict[str, Family] = {
    "adversarial": adversarial.FAMILY,
    "conv": conv.FAMILY,
    "cross": cross.FAMILY,
    "dense": dense.FAMILY,
    "denoising": denoising.FAMILY,
    "forecast": forecast.FAMILY,
    "kernel": kernel.FAMILY,
    "overcomplete": overcomplete.FAMILY,
    "pca": pca.FAMILY,
    "recurrent": recurrent.FAMILY,
    "sparse": sparse.FAMILY,
    "subspace": subspace.FAMILY,
    "tcn": tcn.FAMILY,
    "transformer": transformer.FAMILY,
    "variational": variational.FAMILY,
}


ENSEMBLE = "ensemble"
AUTO = "auto"

# What has no network of its own, but is named like a family.
OVER_FAMILIES = {
    AUTO: "the family that finds most faults put into held-out data, of those tried in time",
    ENSEMBLE: "closed-form families that see different things, judged on time held out",
}


def family_named(name: str) -> Family:
    """Look a family up; raises InvalidConfiguration with the names that there are."""
    try:
        return FAMILIES[name]
    except KeyError:
        raise InvalidConfiguration(
            f"family: there is no '{name}', only {', '.join(sorted([*FAMILIES, *OVER_FAMILIES]))}"
        ) from None
