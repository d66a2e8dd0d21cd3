"""What stands before Streamlit and the live routes: who may ask at all, and what browsers are told to refuse.

Streamlit hands its metrics to anyone, and takes requests from pages of other sites where they carry no cookie; a
monitor of a plant does neither. Without a login the server also insists on being called by a name of this machine,
since a foreign site can point a name of its own at 127.0.0.1.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import streamlit
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

HIDDEN = ("_stcore/metrics", "_stcore/agent/", "_stcore/script-health-check")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

# Streamlit needs styles in its elements, and loads the few lines of a component from a blob.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' blob: 'wasm-unsafe-eval'{inline}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "frame-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(slots=True)
class Guard:
    """ASGI middleware. `origins` are addresses of ours beside the Host header's; `local_only` insists on loopback."""

    app: ASGIApp
    origins: Sequence[str] = ()
    local_only: bool = False
    policy: str = ""

    def __post_init__(self) -> None:
        """Allow the scripts of Streamlit's own page, and no other that stands in a page."""
        self.policy = POLICY.format(inline="".join(f" '{each}'" for each in inline_scripts()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what must not pass; add the headers to what does."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        sentence, status = objection(scope["path"], Headers(scope=scope), self.origins, self.local_only)
        if sentence:
            await _refuse(scope, receive, send, status, sentence)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", self.policy)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers)


def inline_scripts() -> list[str]:
    """Hashes of the scripts that stand in Streamlit's page, as a policy names them."""
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_bytes()
    found = re.findall(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", page, re.DOTALL)
    return [f"sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}" for script in found]


def objection(path: str, headers: Headers, origins: Sequence[str], local_only: bool) -> tuple[str, int]:
    """Why a request is refused, and with which status; an empty sentence where it may pass."""
    if any(hidden in path for hidden in HIDDEN):
        return "This address is closed.", 403
    host = headers.get("host", "")
    if local_only and host_name(host) not in LOOPBACK_NAMES:
        return "Without a login the dashboard answers to names of this machine only, such as 127.0.0.1.", 403
    origin = headers.get("origin")
    if origin is not None and not is_ours(origin, host, origins):
        return "Requests from pages of another site are refused.", 403
    return "", 0


def is_ours(origin: str, host: str, origins: Sequence[str]) -> bool:
    """Whether a page at this origin is the dashboard's own."""
    return (bool(host) and urlsplit(origin).netloc == host) or origin in origins


def host_name(host: str) -> str:
    """The name of a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, sentence: str) -> None:
    response = PlainTextResponse(sentence + "\n", status)
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)
