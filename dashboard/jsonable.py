"""Numbers and times as JSON has them: no NaN, times in seconds, four digits are enough to draw and to read."""

from datetime import datetime
from math import isfinite


def number(value: float | None) -> float | None:
    """Four digits of a number; None where it is none or not finite."""
    return None if value is None or not isfinite(value) else float(f"{value:.4g}")


def seconds(moment: datetime | None) -> float | None:
    """A time in seconds since 1970, UTC."""
    return None if moment is None else moment.timestamp()


def link(address: str) -> str:
    """An address that a page may link to: nothing but http and https, else it is empty."""
    return address if address.startswith(("https://", "http://")) else ""
