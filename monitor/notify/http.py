"""One request to an endpoint, and what its answer means."""

import email.utils
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from monitor import __version__
from monitor.errors import RetriableError, TocsinError

MOST_ANSWER = 4096  # bytes of an answer that are read
MOST_WAIT_S = 3600.0  # that a Retry-After may ask for
_AGAIN = (408, 425, 429)


class Undelivered(RetriableError):
    """An endpoint that does not answer, or not now; `after_s` is how long it asked to be left alone."""

    def __init__(self, text: str, after_s: float = 0.0) -> None:
        super().__init__(text)
        self.after_s = after_s


class Refused(TocsinError):
    """An endpoint does not take this, now or later; the text is its answer."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, which delivers nothing."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> bytes:
    """POST a body of JSON; raises Undelivered where that may succeed later, Refused where it never will."""
    told = {"Content-Type": "application/json", "User-Agent": f"tocsin/{__version__}", **headers}
    return _answer(urllib.request.Request(url, body, told, method="POST"), timeout_s)


def ask(url: str, headers: Mapping[str, str], timeout_s: float) -> bytes:
    """GET, with the same errors."""
    return _answer(urllib.request.Request(url, headers=dict(headers), method="GET"), timeout_s)


def _answer(request: urllib.request.Request, timeout_s: float, wall: Callable[[], float] = time.time) -> bytes:
    try:
        with _opener.open(request, timeout=timeout_s) as answer:
            found: bytes = answer.read(MOST_ANSWER)
            return found
    except urllib.error.HTTPError as error:
        with error:
            text = _text(error)
        said = f"{error.code} {error.reason}{': ' if text else ''}{text}"
        if error.code >= 500 or error.code in _AGAIN:
            raise Undelivered(said, retry_after(error.headers.get("Retry-After"), wall())) from None
        raise Refused(said) from None
    except urllib.error.URLError as error:
        raise Undelivered(f"no connection: {error.reason}") from None
    except TimeoutError:
        raise Undelivered(f"no answer in {timeout_s:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise Undelivered(f"no answer: {str(error) or type(error).__name__}") from None
    except ValueError as error:
        raise Refused(str(error)) from None


def _text(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(300).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        return ""


def retry_after(value: str | None, now: float) -> float:
    """Seconds that a Retry-After asks for: a number of them, or a date (RFC 9110, 10.2.3); 0 where it is neither."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), MOST_WAIT_S) if seconds == seconds else 0.0
