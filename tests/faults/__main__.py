"""python -m tests.faults [--quick | --short] [--only NAME...] [--client kafka-python|confluent] [--keep FOLDER]"""

import argparse
import contextlib
import faulthandler
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.children import ended_in_order
from tests.faults import report
from tests.faults.catalogue import FAULTS
from tests.faults.runner import Fault, Form, run, run_all
from tests.faults.stage import Result, ground
from tests.kafka_cluster import kafka_home, unique

# of faults side by side where brokers are left alone: much of their time is waiting
LANES: dict[Form, int] = {"long": 2, "quick": 3, "short": 2}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("make faults", description="Holds exactly once against every fault.")
    parser.add_argument("--quick", action="store_true", help="under five minutes; RESULTS.md is left as it is")
    parser.add_argument("--short", action="store_true", help="the form that runs in pytest")
    parser.add_argument(
        "--only", nargs="+", action="extend", choices=list(FAULTS), metavar="NAME", help=", ".join(FAULTS)
    )
    parser.add_argument("--client", choices=("kafka-python", "confluent"), default="kafka-python")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where all logs and data go, and stay")
    return parser.parse_args()


def chosen(only: list[str] | None, form: Form) -> list[Fault]:
    """The faults that the command line asks for."""
    return [each for name, each in FAULTS.items() if (name in only if only else each.forms[form] is not None)]


def main() -> None:
    faulthandler.enable()
    options = arguments()
    form: Form = "short" if options.short else "quick" if options.quick else "long"
    home = kafka_home()
    if home is None:
        raise SystemExit("Apache Kafka is missing: set KAFKA_HOME to a folder with libs/")
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.enter_context(ended_in_order())
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster, proxy = stack.enter_context(ground(home, folder / unique("kafka")))

        def run_one(fault: Fault) -> Result:
            return run(fault, form, cluster, proxy, folder, options.client, keep=options.keep is not None)

        def tell(result: Result) -> None:
            print(report.line(result), flush=True)

        results = run_all(chosen(options.only, form), LANES[form], run_one, tell)
    if form == "long" and not options.only:
        report.write(report.page(results, options.client, time.monotonic() - began))
    print(report.summary(results))
    sys.exit(any(not each.passed for each in results))


if __name__ == "__main__":
    main()
