"""What the model directories hold: for each detector the version in service, and the others."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dashboard.names import read_metadata
from monitor.config import Detector
from monitor.errors import InvalidModel
from monitor.modelfile import MODEL_FILE, ModelMetadata, current_version

REPORT_FILE = "report.html"  # what training leaves beside the model file
LARGEST_REPORT = 50 * 2**20
MOST_VERSIONS = 50


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file as it lies there; `problem` says why it could not be read."""

    path: str
    version: str
    size: int = 0
    sha256: str = ""
    metadata: ModelMetadata | None = None
    has_report: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A detector's model directory: `current` is the version in service, None where the pointer is broken."""

    detector: Detector
    current: str | None
    files: tuple[ModelFile, ...]
    problem: str = ""


@dataclass(slots=True)
class Shelves:
    """Reads all directories; a file that has not changed is not read again."""

    detectors: Sequence[Detector]
    _known: dict[tuple[str, int, int, bool], ModelFile] = field(default_factory=dict)

    def read(self) -> tuple[Shelf, ...]:
        """All shelves as they are now, detectors in the order of the configuration."""
        shelves = tuple(self._shelf(detector) for detector in self.detectors)
        held = {id(file) for shelf in shelves for file in shelf.files}
        self._known = {key: file for key, file in self._known.items() if id(file) in held}
        return shelves

    def _shelf(self, detector: Detector) -> Shelf:
        root = Path(detector.model)
        if root.is_file() or (root / MODEL_FILE).is_file():
            file = self._file(root if root.is_file() else root / MODEL_FILE, "")
            return Shelf(detector, file.version, (file,))
        if not root.is_dir():
            return Shelf(detector, None, (), "There is no such model directory on this machine.")
        found = sorted(root.glob(f"*/{MODEL_FILE}"), key=lambda path: _by_number(path.parent.name), reverse=True)
        files = tuple(self._file(path, path.parent.name) for path in found[:MOST_VERSIONS])
        try:
            current, problem = current_version(root), ""
        except InvalidModel as error:
            current, problem = None, str(error)
        if current is not None and current not in {file.version for file in files}:
            problem = f"The version in service, {current}, has no file here."
        return Shelf(detector, current, files, problem)

    def _file(self, path: Path, version: str) -> ModelFile:
        try:
            stat, has_report = path.stat(), path.with_name(REPORT_FILE).is_file()
        except OSError as error:
            return ModelFile(str(path), version, problem=error.strerror or str(error))
        key = (str(path), stat.st_mtime_ns, stat.st_size, has_report)
        if key not in self._known:
            self._known[key] = _read(path, version, stat.st_size, has_report)
        return self._known[key]


def report_path(shelves: Sequence[Shelf], detector: str, version: str) -> Path | None:
    """The training report of a version that is on a shelf; None for anything else, whatever the names say."""
    for shelf in shelves:
        for file in shelf.files:
            if shelf.detector.name == detector and file.version == version and file.has_report:
                path = Path(file.path).with_name(REPORT_FILE)
                return path if path.is_file() and path.stat().st_size <= LARGEST_REPORT else None
    return None


def _read(path: Path, version: str, size: int, has_report: bool) -> ModelFile:
    try:
        metadata = read_metadata(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (InvalidModel, OSError, ValueError) as error:
        return ModelFile(str(path), version, size, has_report=has_report, problem=str(error))
    return ModelFile(str(path), version or metadata.version, size, digest, metadata, has_report)


def _by_number(version: str) -> tuple[int, int, str]:
    """Numbers by their size, other names after them."""
    return (0, int(version), "") if version.isdigit() else (-1, 0, version)
