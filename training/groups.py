"""Which assets share a model: one for all, one for each asset, or one for each type of asset."""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from monitor.datafiles import assets_in
from monitor.errors import InvalidConfiguration
from training.arguments import FitArgs
from training.data import check_files

PER = "all", "asset", "type"


def assets_of(files: Sequence[Path], asset: str = "") -> dict[Path, frozenset[str]]:
    """The assets that each file has readings of; `asset` names that of files without such a column."""
    check_files(files)
    return {path: frozenset(assets_in(path, asset or None)) for path in files}


def by_asset(assets: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """One model for each asset, named after it."""
    return named((asset, (asset,)) for asset in sorted(assets))


def by_type(assets: Iterable[str], types: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """One model for each type, `GLOB` or `NAME=GLOB`; the first that matches an asset has it.

    Without a name, a type is called what its pattern says besides its wildcards: 'pump-*' gives pump. Raises
    InvalidConfiguration for a type without an asset, and for assets without a type.
    """
    patterns = [_name_and_pattern(each) for each in types]
    groups: dict[str, list[str]] = {name: [] for name, _ in patterns}
    strangers: list[str] = []
    for asset in sorted(assets):
        name = next((name for name, pattern in patterns if fnmatch.fnmatchcase(asset, pattern)), None)
        (strangers if name is None else groups[name]).append(asset)
    if strangers:
        raise InvalidConfiguration(
            f"type: none matches {', '.join(strangers[:5])}{' ...' if strangers[5:] else ''}; add one, such as "
            "--type 'rest=*'"
        )
    if empty := [name for name, members in groups.items() if not members]:
        raise InvalidConfiguration(
            f"type: no asset is of type {empty[0]}; there are {', '.join(sorted(assets))[:200]}"
        )
    return named((name, tuple(members)) for name, members in groups.items())


def named(groups: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """Groups under names that a model may have; raises InvalidConfiguration where two become the same."""
    result: dict[str, tuple[str, ...]] = {}
    for label, members in groups:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", label)
        name = name if name[:1].isalnum() else f"x{name}"
        if name in result:
            raise InvalidConfiguration(f"name: '{label}' and '{result[name][0]}' would be one model, '{name}'")
        result[name] = members
    return result


def fits(
    args: FitArgs, groups: Mapping[str, tuple[str, ...]], where: Mapping[Path, frozenset[str]]
) -> tuple[FitArgs, ...]:
    """The arguments of each group's fit, with the files that have its assets; `args.name` is put before its name."""
    return tuple(
        msgspec.structs.replace(
            args,
            name=f"{args.name}-{name}" if args.name else name,
            assets=members,
            files=tuple(path for path, assets in where.items() if assets & set(members)),
        )
        for name, members in groups.items()
    )


def _name_and_pattern(text: str) -> tuple[str, str]:
    """'pumps=p*' gives pumps and p*; 'pump-*' gives pump and pump-*."""
    name, equals, pattern = text.partition("=")
    if not equals:
        name, pattern = re.sub(r"\[.*?\]|[*?]", "", text).strip("-._ ") or "all", text
    if not name or not pattern:
        raise InvalidConfiguration(f"type: '{text}' is neither a pattern nor NAME=PATTERN")
    return name, pattern
