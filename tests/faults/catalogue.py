"""All faults: what is imported here is run."""

from tests.faults import brokers, daemons, inputs, modelfiles, soak, topics
from tests.faults.runner import FAULTS

__all__ = ["FAULTS", "brokers", "daemons", "inputs", "modelfiles", "soak", "topics"]
