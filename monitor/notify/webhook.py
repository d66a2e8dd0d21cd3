"""Webhooks: each event as a CloudEvent in structured mode, signed where there is a secret."""

import hashlib
import hmac

from monitor.notify.settings import Endpoint

CONTENT_TYPE = "application/cloudevents+json"
SIGNATURE = "X-Tocsin-Signature"


def headers(endpoint: Endpoint, body: bytes, event_id: str) -> dict[str, str]:
    """Headers of a request; the id is the same however often it is sent."""
    told = {"Content-Type": CONTENT_TYPE, "X-Tocsin-Delivery": event_id}
    return told | ({SIGNATURE: signature(str(endpoint.secret), body)} if endpoint.secret else {})


def signature(secret: str, body: bytes) -> str:
    """HMAC-SHA256 of a body (RFC 2104), in hex."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
