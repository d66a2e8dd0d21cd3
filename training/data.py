"""Recorded data in, one history per asset out.

A file is Parquet or CSV. Wide: `ts`, `asset` (optional), one number column per channel. Narrow: `asset`
(optional), `channel`, `ts`, `value`. `ts` is a timestamp, ISO 8601 text, or whole milliseconds since 1970; a
time without a zone is UTC. Label columns are never channels. N readings, C channels.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from monitor.errors import InvalidData

LABELS = frozenset({"anomaly", "changepoint", "label"})
NARROW = frozenset({"channel", "ts", "value"})


@dataclass(frozen=True, slots=True)
class History:
    """All readings of one asset, sorted by event time: ts (N,) int64 ns, values (N, C) float32 with NaN."""

    asset: str
    ts: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Histories with the same channels, in the order of the assets' names, and the digest of the files."""

    channels: tuple[str, ...]
    histories: tuple[History, ...]
    sha256: str

    @property
    def rows(self) -> int:
        """Readings in all."""
        return sum(len(history.ts) for history in self.histories)


def load(paths: Sequence[Path], asset: str = "") -> DataSet:
    """Read files into one data set; raises InvalidData with the file and the column.

    `asset` names the asset of files that have no such column (else the file's name does), and picks one asset
    out of files that have it. A channel that a file lacks is missing there.
    """
    if not paths:
        raise InvalidData("no data file was given")
    parts = [part for path in paths for part in _read_file(path, asset)]
    if not parts:
        raise InvalidData(
            f"{', '.join(map(str, paths))}: no readings" + (f" of asset '{asset}'" if asset else "")
        )
    channels = tuple(dict.fromkeys(channel for names, _ in parts for channel in names))
    assets = sorted({history.asset for _, history in parts})
    histories = tuple(_joined(name, channels, parts) for name in assets)
    return DataSet(channels, histories, digest(paths))


def digest(paths: Sequence[Path]) -> str:
    """SHA-256 over the bytes of the files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def median_step_ms(histories: Sequence[History]) -> int:
    """Period inferred from the data: the median step between different event times, in whole milliseconds."""
    steps = [np.diff(np.unique(history.ts)) for history in histories]
    together = np.concatenate(steps)
    if not len(together):
        raise InvalidData("period: every reading has the same time, so that no period can be inferred")
    return max(round(float(np.median(together)) / 1e6), 1)


def _joined(
    asset: str, channels: tuple[str, ...], parts: Sequence[tuple[tuple[str, ...], History]]
) -> History:
    """One asset's parts, brought to the same channels and sorted by time."""
    ts, values = [], []
    for names, history in parts:
        if history.asset == asset:
            wide = np.full((len(history.ts), len(channels)), np.nan, np.float32)
            wide[:, [channels.index(name) for name in names]] = history.values
            ts.append(history.ts)
            values.append(wide)
    times = np.concatenate(ts)
    order = np.argsort(times, kind="stable")
    return History(asset, times[order], np.concatenate(values)[order])


# --------------------------------------------------------------------------------------------------- one file


def _read_file(path: Path, asset: str) -> list[tuple[tuple[str, ...], History]]:
    """Channels and history of each asset in a file."""
    table = _table(path)
    if "ts" not in table.column_names:
        raise InvalidData(
            f"{path}: there is no column 'ts'; it has {', '.join(table.column_names) or 'none'}"
        )
    ts = _times(path, table["ts"])
    names, rows = _assets(path, table, asset)
    narrow = set(table.column_names) >= NARROW
    channels, values = _narrow_values(path, table) if narrow else _wide_values(path, table)
    result = []
    for code, name in enumerate(names):
        mine = rows == code
        if (asset and name != asset) or not mine.any():
            continue
        history = History(name, ts[mine], values[mine])
        result.append((channels, _merged(history) if narrow else history))
    return result


def _table(path: Path) -> pa.Table:
    """The whole file as a table."""
    try:
        if path.suffix.lower() in {".csv", ".txt"}:
            return pa.csv.read_csv(path)
        return pa.parquet.read_table(path)
    except FileNotFoundError:
        raise InvalidData(f"{path}: no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise InvalidData(f"{path}: cannot be read as Parquet or CSV: {error}") from None


def _times(path: Path, column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Event times as ns (N,)."""
    if column.null_count:
        raise InvalidData(f"{path}: column 'ts': {column.null_count} times are missing")
    try:
        if pa.types.is_integer(column.type):
            column = column.cast(pa.timestamp("ms"))
        elif not pa.types.is_timestamp(column.type):
            column = pc.cast(column, pa.timestamp("ns", "UTC") if _has_zone(column) else pa.timestamp("ns"))
        return column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64()).to_numpy()
    except (pa.ArrowException, ValueError) as error:
        raise InvalidData(f"{path}: column 'ts' ({column.type}): {error}") from None


def _has_zone(column: pa.ChunkedArray) -> bool:
    """Whether the first of these texts ends with a time zone."""
    first = str(column[0].as_py()) if len(column) else ""
    return first.endswith("Z") or "+" in first[10:] or "-" in first[10:]


def _assets(path: Path, table: pa.Table, asset: str) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the assets in a file, and each row's number in them (N,)."""
    if "asset" not in table.column_names:
        return [asset or path.stem], np.zeros(len(table), np.int64)
    column = table["asset"]
    if column.null_count:
        raise InvalidData(f"{path}: column 'asset': {column.null_count} values are missing")
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _wide_values(path: Path, table: pa.Table) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Channels and values (N, C) of a table with one column per channel."""
    channels = tuple(name for name in table.column_names if name not in LABELS | {"ts", "asset"})
    if not channels:
        raise InvalidData(f"{path}: there is no channel column beside 'ts'")
    if len(set(channels)) != len(channels):
        raise InvalidData(f"{path}: a column name stands twice")
    values = np.empty((len(table), len(channels)), np.float32)
    for index, name in enumerate(channels):
        values[:, index] = _numbers(path, name, table[name])
    return channels, values


def _narrow_values(path: Path, table: pa.Table) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Channels and values (N, C) of a table with one row per value; each row holds one channel."""
    if table["channel"].null_count:
        raise InvalidData(f"{path}: column 'channel': {table['channel'].null_count} names are missing")
    encoded = table["channel"].cast(pa.string()).combine_chunks().dictionary_encode()
    values = np.full((len(table), len(encoded.dictionary)), np.nan, np.float32)
    values[np.arange(len(table)), encoded.indices.to_numpy()] = _numbers(path, "value", table["value"])
    return tuple(encoded.dictionary.to_pylist()), values


def _numbers(path: Path, name: str, column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column as float32, NaN where it is null or infinite: an infinite value says nothing of a sensor."""
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        if not pa.types.is_null(kind):
            raise InvalidData(f"{path}: column '{name}' holds {kind}, not numbers")
        return np.full(len(column), np.nan, np.float32)
    wide = column.cast(pa.float64()).to_numpy()
    with np.errstate(over="ignore"):
        numbers = wide.astype(np.float32)
    return np.where(np.isfinite(numbers), numbers, np.float32(np.nan))


def _merged(history: History) -> History:
    """Rows of equal time made one; the later row's value wins, and a missing one overwrites nothing."""
    times, rows = np.unique(history.ts, return_inverse=True)
    values = np.full((len(times), history.values.shape[1]), np.nan, np.float32)
    index, channel = np.nonzero(~np.isnan(history.values))
    values[rows[index], channel] = history.values[index, channel]
    return History(history.asset, times, values)
