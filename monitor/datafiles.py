"""Recorded data: Parquet and CSV files, wide or narrow, into columns sorted by event time, and back.

Wide files have `ts`, optionally `asset`, a numeric column per channel and labels;
narrow files have `asset`, `channel`, `ts`, `value`.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from monitor.errors import InvalidData
from monitor.recording import Recording, labelled_intervals, merge_recordings

__all__ = [
    "Recording",
    "asset_name",
    "assets_in",
    "labelled_intervals",
    "merge_recordings",
    "read_recording",
    "write_recording",
]

LABELS = ("anomaly", "changepoint")
# File names that tell a part of a data set; the asset is then the folder's name.
_PARTS = frozenset({"train", "test", "validation", "val", "data", "readings"})


def read_recording(
    path: str | os.PathLike[str], asset: str | None = None, label_columns: Sequence[str] = LABELS
) -> Recording:
    """Read a Parquet or CSV file; wide or narrow is told by its columns.

    Without a column `asset` all readings are of `asset`, or else of the asset that the path names: the file,
    or the folder of a file called train, test and the like. The first of `label_columns` that the file has
    gives the labels; none of them is a channel. An integer `ts` is in ms; a time without zone is UTC.
    Raises InvalidData with the file, and the column where one is at fault.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidData(f"{file}: No such file.")
    table = _read_table(file)
    names = list(table.column_names)
    for name in names:
        if names.count(name) > 1:
            raise InvalidData(f"{file}: the column '{name}' stands twice.")
    if "ts" not in names:
        raise InvalidData(f"{file}: there is no column 'ts' with the event time.")
    if table.num_rows == 0:
        raise InvalidData(f"{file}: there are no readings in it.")
    ts = _event_times(file, table["ts"])
    assets, codes = _assets(file, table, asset or asset_name(file))
    label = next((name for name in label_columns if name in names), None)
    labels = None if label is None else _label_values(file, table, label)
    if {"channel", "value"} <= set(names):
        recording = _from_narrow(file, table, assets, codes, ts, labels)
    else:
        apart = {"ts", "asset", *label_columns}
        channels = [name for name in names if name not in apart and not name.startswith("__index_level_")]
        if not channels:
            raise InvalidData(f"{file}: there is no column with a channel's values.")
        values = np.stack([_numbers(file, table, name) for name in channels], axis=1)
        recording = Recording(assets, codes, ts, channels, values, labels)
    overwritten = recording.overwritten
    recording = recording.take(np.argsort(recording.ts, kind="stable"))
    recording.backwards, recording.overwritten = _backwards(codes, ts), overwritten
    return recording


def _backwards(codes: NDArray[np.int32], ts: NDArray[np.int64]) -> int:
    """How many rows stand after a row of the same asset with a later time."""
    order = np.argsort(codes, kind="stable")  # asset by asset, each as it stands in the file
    edges = np.flatnonzero(np.diff(codes[order])) + 1
    parts = np.split(ts[order], edges)
    return sum(int(np.count_nonzero(part < np.maximum.accumulate(part))) for part in parts)


def assets_in(path: str | os.PathLike[str], asset: str | None = None) -> list[str]:
    """The assets of a file, as `read_recording` names them; of a Parquet file only that column is read."""
    file = Path(path)
    return _assets(file, _read_table(file, ("asset",)), asset or asset_name(file))[0]


def asset_name(path: str | os.PathLike[str]) -> str:
    """The asset that a file is about: `machine-1-7/test.csv` gives machine-1-7, `valve1/3.csv` valve1-3."""
    file = Path(path).absolute()
    if file.stem.lower() in _PARTS:
        return file.parent.name or file.stem
    return f"{file.parent.name}-{file.stem}" if file.stem.isdigit() and file.parent.name else file.stem


def write_recording(path: str | os.PathLike[str], parts: Iterable[Recording]) -> int:
    """Write recordings of the same channels, one after the other, as one wide Parquet or CSV file.

    Returns the number of readings. The file appears under its name only when it is whole.
    """
    file = Path(path)
    if file.suffix not in (".parquet", ".csv"):
        raise InvalidData(f"{file}: only .parquet and .csv files can be written.")
    unfinished = file.with_name(f".{file.name}.unfinished")
    writer: pq.ParquetWriter | pa_csv.CSVWriter | None = None
    rows = 0
    try:
        for part in parts:
            batch = _record_batch(part)
            if writer is None:
                open_writer = pq.ParquetWriter if file.suffix == ".parquet" else pa_csv.CSVWriter
                writer = open_writer(str(unfinished), batch.schema)
            writer.write_batch(batch)
            rows += len(part)
        if writer is None:
            raise InvalidData(f"{file}: there are no readings to write.")
        writer.close()
        unfinished.replace(file)
    except OSError as error:
        raise InvalidData(f"{file}: {error.strerror or error}.") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


def _record_batch(recording: Recording) -> pa.RecordBatch:
    names = pa.array(recording.assets, pa.string()).take(pa.array(recording.asset))
    columns = {"ts": pa.array(recording.ts).cast(pa.timestamp("ns", "UTC")), "asset": names}
    columns |= {name: pa.array(recording.values[:, c]) for c, name in enumerate(recording.channels)}
    if recording.labels is not None:
        columns["anomaly"] = pa.array(recording.labels)
    return pa.RecordBatch.from_pydict(columns)


# ------------------------------------------------------------------------------------------------- reading


def _read_table(file: Path, only: Sequence[str] | None = None) -> pa.Table:
    """The table; of a Parquet file the columns of `only` that it has."""
    readers: dict[str, Callable[[Path, Sequence[str] | None], pa.Table]] = {
        ".parquet": _read_parquet,
        ".csv": _read_csv,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise InvalidData(f"{file}: only .parquet and .csv files can be read.")
    try:
        if file.stat().st_size == 0:
            raise InvalidData(f"{file}: the file is empty.")
        return reader(file, only)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        kind = "Parquet" if reader is _read_parquet else "CSV"
        detail = str(error).splitlines()[0].rstrip(".")
        raise InvalidData(f"{file}: not a complete {kind} file ({detail}).") from None
    except OSError as error:
        raise InvalidData(f"{file}: {error.strerror or error}.") from None


def _read_parquet(file: Path, only: Sequence[str] | None) -> pa.Table:
    columns = None if only is None else [name for name in only if name in pq.read_schema(file).names]
    return pq.read_table(file, columns=columns, partitioning=None)  # a folder called site=3 is no channel


def _read_csv(file: Path, only: Sequence[str] | None) -> pa.Table:
    with file.open(encoding="utf-8-sig") as lines:
        header = lines.readline()
    delimiter = max(",;\t", key=header.count)
    return pa_csv.read_csv(
        file,
        parse_options=pa_csv.ParseOptions(delimiter=delimiter),
        # An asset called 007 is a name, not a number.
        convert_options=pa_csv.ConvertOptions(column_types={"asset": pa.string(), "channel": pa.string()}),
    )


def _event_times(file: Path, column: pa.ChunkedArray) -> NDArray[np.int64]:
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1
        raise InvalidData(f"{file}: column 'ts' has no time in row {row}.")
    kind = column.type
    try:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return _parsed_times(file, column)
        if pa.types.is_integer(kind):
            column = column.cast(pa.int64()).cast(pa.timestamp("ms"))
        elif not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            raise InvalidData(f"{file}: column 'ts' is {kind}, not a time, ISO text or integer milliseconds.")
        times: NDArray[np.int64] = column.cast(pa.timestamp("ns")).cast(pa.int64()).to_numpy()
        return times
    except pa.ArrowInvalid:
        raise InvalidData(f"{file}: column 'ts' holds a time outside the years 1678 to 2262.") from None


def _parsed_times(file: Path, column: pa.ChunkedArray) -> NDArray[np.int64]:
    for zone in ("UTC", None):
        try:
            times: NDArray[np.int64] = column.cast(pa.timestamp("ns", zone)).cast(pa.int64()).to_numpy()
            return times
        except pa.ArrowInvalid:
            continue
    return np.array([_parsed_time(file, row, text) for row, text in enumerate(column.to_pylist(), 1)], np.int64)


def _parsed_time(file: Path, row: int, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidData(f"{file}: column 'ts' has '{text[:40]}' in row {row}, which is no ISO time.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not 1678 <= moment.year < 2262:
        raise InvalidData(f"{file}: column 'ts' holds a time outside the years 1678 to 2262.")
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def _assets(file: Path, table: pa.Table, default: str) -> tuple[list[str], NDArray[np.int32]]:
    if "asset" not in table.column_names:
        return [default], np.zeros(table.num_rows, np.int32)
    return _names(file, table, "asset")


def _names(file: Path, table: pa.Table, name: str) -> tuple[list[str], NDArray[np.int32]]:
    """The distinct texts of a column, and (N,) which of them each row has."""
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    column = column.cast(pa.string())
    empty = pc.or_kleene(column.is_null(), pc.equal(column, "")).to_numpy()
    if empty.any():
        raise InvalidData(f"{file}: column '{name}' is empty in row {int(np.flatnonzero(empty)[0]) + 1}.")
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int32)


def _numbers(file: Path, table: pa.Table, name: str) -> NDArray[np.float32]:
    column = table[name]
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        what = "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else str(kind)
        raise InvalidData(f"{file}: column '{name}' is {what}; a channel holds numbers.")
    numbers: NDArray[np.float32] = column.cast(pa.float32(), safe=False).to_numpy()
    return numbers


def _label_values(file: Path, table: pa.Table, name: str) -> NDArray[np.int8]:
    labelled: NDArray[np.bool_] = np.nan_to_num(_numbers(file, table, name)) != 0
    return labelled.astype(np.int8)


def _from_narrow(
    file: Path,
    table: pa.Table,
    assets: list[str],
    codes: NDArray[np.int32],
    ts: NDArray[np.int64],
    labels: NDArray[np.int8] | None,
) -> Recording:
    """Gather the rows of one asset and time into one reading; the later row wins, NaN never overwrites."""
    channels, channel = _names(file, table, "channel")
    numbers = _numbers(file, table, "value")
    order = np.lexsort((codes, ts))
    starts = np.r_[True, (np.diff(ts[order]) != 0) | (np.diff(codes[order]) != 0)]
    reading = np.empty(len(ts), np.int64)
    reading[order] = np.cumsum(starts) - 1
    first = order[starts]
    values = np.full((len(first), len(channels)), np.nan, np.float32)
    given = ~np.isnan(numbers)
    values[reading[given], channel[given]] = numbers[given]
    gathered = None
    if labels is not None:
        gathered = np.zeros(len(first), np.int8)
        np.maximum.at(gathered, reading, labels)
    recording = Recording(assets, codes[first], ts[first], channels, values, gathered)
    recording.overwritten = int(np.count_nonzero(given) - np.count_nonzero(~np.isnan(values)))
    return recording
