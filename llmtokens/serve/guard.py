"""What stands before every request: who may ask, and how much may be sent."""

from __future__ import annotations

import hmac
import json
from typing import Any

_LARGEST = 1 << 16  # bytes of a request's body
_OPEN = {"/", "/page.css", "/page.js", "/docs", "/docs.js", "/openapi.json"}  # hold no data
_LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}
_HEADERS = [
    (b"content-security-policy",
     b"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
     b"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]  # fmt: skip


class Guard:
    """ASGI middleware.

    Without a token only requests to this machine by its own name are let in: a web page from
    elsewhere that had its name lead here (DNS rebinding) is not. With one, every request for data
    must carry it, as ``Authorization: Bearer <token>``.
    """

    def __init__(self, app: Any, token: str | None = None) -> None:
        self._app = app
        self._token = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        refused = self._refusal(scope)
        if refused is None:
            body = await _whole_body(receive)
            if body is None:
                refused = 413, f"found a body of more than {_LARGEST} bytes; expected less"
        if refused is not None:
            return await _refuse(send_with_headers, *refused)
        await self._app(scope, _replay(body, receive), send_with_headers)

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        if self._token is None:
            host = headers.get(b"host", b"").decode("latin-1")
            name = host if host.endswith("]") else host.rsplit(":", 1)[0]
            if name.lower() not in _LOOPBACK:
                return 421, f"found the host {host[:60]!r}; expected localhost, or a token"
        elif scope["path"] not in _OPEN:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, self._token):
                return 401, "expected the header 'Authorization: Bearer <token>' with the token"
        return None


async def _whole_body(receive: Any) -> bytes | None:
    """The body, None where it is too long."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LARGEST:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes | None, receive: Any) -> Any:
    """``receive`` for an application that has yet to read the body."""
    waiting = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def again() -> Any:
        return waiting.pop() if waiting else await receive()

    return again


async def _refuse(send: Any, status: int, why: str) -> None:
    text = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
