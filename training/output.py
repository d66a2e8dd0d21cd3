"""A version of a model: all of its files, or none."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from monitor.modelfile import new_version, set_current


@contextlib.contextmanager
def whole_version(directory: Path) -> Iterator[tuple[str, Path]]:
    """Claim the next version of a model directory; gives it and the folder to write its files into.

    The folder gets its place by a rename, and goes into service, only when the block ends well. After an error,
    a full disk or Ctrl-C all of it is removed, with the folders that were made for it.
    """
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    version = ""
    unfinished = directory / f".unfinished.{os.getpid()}"
    try:
        version = new_version(directory)
        unfinished.mkdir()
        yield version, unfinished
        unfinished.replace(directory / version)  # over the empty folder that claims the number
        set_current(directory, version)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        if version:
            shutil.rmtree(directory / version, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # another fit may have come to live there
                folder.rmdir()
        raise
