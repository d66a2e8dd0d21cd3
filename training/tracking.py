"""A finished fit in MLflow: its arguments, figures and files as one run."""

import os
from typing import Any

from monitor.errors import InvalidConfiguration
from training.fit import Fitted

EXPERIMENT = "tocsin"
LONGEST = 6000  # characters of a parameter, by MLflow's own limit


def client(uri: str) -> Any:
    """A client of the tracking server or store at `uri`; raises InvalidConfiguration where there is none to use."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing about a plant goes where nobody sent it
    try:
        import mlflow
    except ImportError:
        raise InvalidConfiguration(
            "mlflow: the package is missing; install it with: pip install 'tocsin[mlflow]'"
        ) from None
    try:
        found = mlflow.MlflowClient(tracking_uri=uri)
        if found.get_experiment_by_name(EXPERIMENT) is None:
            found.create_experiment(EXPERIMENT)
    except Exception as error:  # of stores, of HTTP and of SQL: they have no common root
        raise _unusable(uri, error) from None
    return found


def log(found: Any, uri: str, fitted: Fitted) -> str:
    """Log one fit under the experiment 'tocsin', as a run called like the model and its version; gives the run's id.

    The model's files go with it, so that the store alone can put the model back into service.
    """
    metadata = fitted.metadata
    try:
        experiment = found.get_experiment_by_name(EXPERIMENT)
        tags = {"sha256": metadata.training.sha256, "revision": metadata.revision, "created": metadata.created}
        run = found.create_run(
            experiment.experiment_id, run_name=f"{metadata.name} {metadata.version}", tags=tags
        ).info.run_id
        for name, value in metadata.arguments.items():
            found.log_param(run, name, str(value)[:LONGEST])
        for name, value in metadata.metrics.items():
            if isinstance(value, int | float):
                found.log_metric(run, name, value)
        found.log_artifacts(run, str(fitted.model.parent))
        found.set_terminated(run)
    except Exception as error:
        raise _unusable(uri, error) from None
    return str(run)


def _unusable(uri: str, error: Exception) -> InvalidConfiguration:
    return InvalidConfiguration(
        f"mlflow: {uri} cannot be used: {(str(error) or type(error).__name__).splitlines()[0]}"
    )
