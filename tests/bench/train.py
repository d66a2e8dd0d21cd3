"""Trains the model by the training command; a process of its own."""

import contextlib
import sys

from tests.bench.measure import finish, read_job
from training.cli import app

if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        app(read_job()["command"], standalone_mode=False)
    finish({"trained": True})
