"""Start serving."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any

from ..errors import DataError, MissingExtraError, StorageError
from .app import create_app

_SHORTEST = 16  # characters of a token: what cannot be guessed


def serve(
    path: str | os.PathLike[str],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    token: str | None = None,
    encoder: Any = None,
) -> None:
    """Serve a fitted model until interrupted; see :func:`create_app`.

    Parameters
    ----------
    path : str or path
    host : str, default="127.0.0.1"
        Where to listen. Other machines can only reach another address than that of the loopback,
        which is refused without a token.
    port : int, default=8000
    token : str, optional
        At least 16 characters. It is sent as it is: put TLS in front where the network is not
        yours.
    encoder : Encoder, optional

    Raises
    ------
    DataError
        For an address that others can reach, without a token; for a token that can be guessed, or
        one that no header can carry; for a port out of range.
    StorageError
        If a file cannot be opened, another process serves this model, or the address is taken.
    FileFormatError
        If the model or its log is damaged.
    MissingExtraError
        Without uvicorn.
    """
    require_safe(host, token)
    if not 0 <= port < 1 << 16:
        raise DataError(f"found port={port!r}; expected a number from 0 to 65535")
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError(
            f"serving a model needs {error.name}: pip install 'llmtokens[serve]'"
        ) from error
    app = create_app(path, token=token, encoder=encoder)
    config = uvicorn.Config(
        app, host, port, log_level="warning", access_log=False, server_header=False,
    )  # fmt: skip
    try:
        sock = config.bind_socket()
    except SystemExit as error:  # which uvicorn says of an address that is taken
        raise StorageError(
            f"could not listen on {host}:{port}; is another server there? Choose another port"
        ) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a body does not wait for an ACK
    sock.listen()  # whoever comes from now on waits, and is answered
    name = f"[{host}]" if ":" in host else host
    print(f"http://{name}:{sock.getsockname()[1]}  (documentation at /docs; stop with Ctrl-C)",
          flush=True)  # fmt: skip
    uvicorn.Server(config).run(sockets=[sock])


def require_safe(host: str, token: str | None) -> None:
    """Raise DataError for an address that anybody can reach and use."""
    if token is not None and (len(token) < _SHORTEST or not token.isascii() or " " in token):
        raise DataError(
            f"found a token of {len(token)} characters; expected at least {_SHORTEST}, of ASCII "
            "and without spaces, such as secrets.token_urlsafe() gives"
        )
    if token is None and not _is_loopback(host):
        raise DataError(
            f"found host={host!r}, which other machines may reach, and no token; expected one: "
            "set LLMTOKENS_TOKEN, or stay on 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
