"""Many fits: in processes of this machine, or on Ray. One that fails is told of, and the others go on.

A worker imports PyTorch once and takes one fit after the other, on one thread each: so fits do not fight for cores.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool

import msgspec

from monitor.errors import InvalidConfiguration, TocsinError
from training.arguments import FitArgs
from training.fit import Fitted, fit

CONNECT_S = 5.0
THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
GONE = "its process ended without a word; it may have been out of memory: fewer --jobs need less"


class Outcome(msgspec.Struct, frozen=True):
    """What became of one fit: the model, or the sentence that says why there is none."""

    name: str
    fitted: Fitted | None = None
    error: str = ""


def attempt(args: FitArgs) -> Outcome:
    """Fit one model; whatever goes wrong is its outcome."""
    try:
        return Outcome(args.name, fit(args))
    except (TocsinError, OSError) as error:
        return Outcome(args.name, error=str(error))
    except Exception as error:  # one asset's data may hit what no other does: the others are still wanted
        return Outcome(args.name, error=f"{type(error).__name__}: {error}")


def in_processes(fits: Sequence[FitArgs], jobs: int) -> Iterator[Outcome]:
    """Fit in so many processes; outcomes come as they are done.

    A process that dies takes its pool with it, and nobody knows whose fault it was. Fits that may have run then are
    done again, each in a pool of its own, so that only the one at fault has no model; the rest go on together.
    """
    left = list(fits)
    with _one_thread_each():
        while left:
            for outcome in _pooled(left, jobs):
                left = [args for args in left if args.name != outcome.name]
                yield outcome
            accused, left = left[: 2 * jobs + 1], left[2 * jobs + 1 :]
            for args in accused:
                yield next(_pooled([args], 1), Outcome(args.name, error=GONE))


def on_ray(fits: Sequence[FitArgs], address: str) -> Iterator[Outcome]:
    """Fit on a Ray cluster, 'auto' for the one of this machine, 'local' for one that starts and ends with this call.

    Its machines must see the data and the models' folder under the same paths. Raises InvalidConfiguration where
    Ray is missing or does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about a plant goes where nobody sent it
    try:
        import ray
    except ImportError:
        raise InvalidConfiguration(
            "ray: the package is missing; install it with: pip install 'tocsin[ray]'"
        ) from None
    _check_answers(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InvalidConfiguration(f"ray: no cluster at '{address}': {str(error).splitlines()[0]}") from None
    try:
        remote = ray.remote(num_cpus=1, max_retries=1)(attempt)
        waiting = {remote.remote(_absolute(args)): args.name for args in fits}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            name = waiting.pop(done)
            try:
                yield ray.get(done)
            except ray.exceptions.RayError as error:
                yield Outcome(name, error=f"Ray: {str(error).splitlines()[0]}")
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse HOST:PORT where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise InvalidConfiguration(f"ray: no cluster answers at '{address}': {error}") from None


def _pooled(fits: Sequence[FitArgs], jobs: int) -> Iterator[Outcome]:
    """Outcomes of fits in one pool, until they are all done or a process dies."""
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with concurrent.futures.ProcessPoolExecutor(min(jobs, len(fits)), context) as pool:
        try:
            waiting = [pool.submit(attempt, args) for args in fits]
            for done in concurrent.futures.as_completed(waiting):
                yield done.result()
        except BrokenProcessPool:
            return
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _absolute(args: FitArgs) -> FitArgs:
    """The same fit from any working folder."""
    files = tuple(path.absolute() for path in args.files)
    return msgspec.structs.replace(args, files=files, out=args.out.absolute())


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """New processes read from their environment how many threads their libraries may start."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
