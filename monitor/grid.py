"""A detector's sampling grid: buckets, watermarks, and which windows they close; shapes as in `monitor.windows`."""

from dataclasses import dataclass

import numpy as np

from monitor.arrays import HIGHEST, LOWEST, Bools, Ints

NEVER = HIGHEST // 4  # a limit that is not reached, with room to add to


@dataclass(frozen=True, slots=True)
class Grid:
    """A detector's sampling grid and its rules of event time; lengths in buckets, times in ns."""

    period: int
    window: int
    stride: int
    lateness: int = 0
    idle_limit: int = NEVER
    reset_after: int = NEVER

    def bucket(self, ts: Ints) -> Ints:
        """Bucket of each event time."""
        return ts // self.period

    def closed_by(self, highest: Ints) -> Ints:
        """Last bucket closed by the watermark that belongs to these highest event times (LOWEST: none seen)."""
        buckets = (highest - self.lateness) // self.period - 1
        closed: Ints = buckets // self.stride * self.stride
        unseen = highest == LOWEST
        return np.where(unseen, LOWEST, closed) if unseen.any() else closed

    def covering(self, highest: Ints) -> Ints:
        """Last bucket of the first window end that covers these event times: where an idle asset closes."""
        seen = highest != LOWEST
        buckets = self.bucket(np.where(seen, highest, 0))
        return np.where(seen, -(-buckets // self.stride) * self.stride, LOWEST)

    def is_idle(self, highest: Ints, stream: Ints | int) -> Bools:
        """Whether assets with these highest event times are further behind stream time than the idle limit."""
        return _behind(highest, self.idle_limit, stream)

    def is_due(self, highest: Ints, stream: Ints | int) -> Bools:
        """Whether assets with these highest event times are so far behind stream time that they are reset."""
        return _behind(highest, self.reset_after, stream)

    def window_end(self, bucket: Ints) -> Ints:
        """Exclusive end, ns, of the window whose last bucket this is."""
        return (bucket + 1) * self.period

    def base(self, closed: Ints) -> Ints:
        """First bucket of the oldest window that is open where these are the last buckets closed."""
        return closed + self.stride - self.window + 1

    @property
    def length(self) -> int:
        """Buckets from the base to the newest that can hold a reading before the watermark closes the window."""
        return self.window - (-self.lateness // self.period)

    @property
    def group(self) -> int:
        """Buckets that share one offset to read again from: at most a quarter of a window too many are read."""
        return max(self.stride, -(-self.window // 4))


def _behind(highest: Ints, limit: int, stream: Ints | int) -> Bools:
    result: Bools = (highest != LOWEST) & (np.where(highest == LOWEST, 0, highest) + limit < stream)
    return result
