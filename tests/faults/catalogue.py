"""All faults: what is imported here is run."""

from tests.faults import daemons, inputs, modelfiles, soak
from tests.faults.runner import FAULTS

__all__ = ["FAULTS", "daemons", "inputs", "modelfiles", "soak"]
