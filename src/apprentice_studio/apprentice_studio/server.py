"""Runs the application on a socket that is bound before anything else starts."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from apprentice_core.errors import ApprenticeError
from apprentice_studio.routes.episodes import PAGE
from apprentice_studio.security import Access

GRACE = 2
"""seconds that open requests get when the server ends (ours)"""


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket; ApprenticeError when the port is in use or the address is not this machine's."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # The protocol is named because asyncio sets TCP_NODELAY only then; without it an answer of two writes waits 40 ms for an ACK.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise ApprenticeError(f"--host {host}: {error.strerror or error}") from error
    with made:
        # Connections of a server that just ended must not block its port; a living one still does.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(place)
            made.listen(128)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ApprenticeError(f"port {port} of {host} is in use; is Studio running already? Name another with --port") from error
            raise ApprenticeError(f"{host} port {port}: cannot be bound ({error.strerror})") from error
        yield made


def address(bound_socket: socket.socket, access: Access) -> str:
    """What to open in a browser, with the token where one is needed."""
    port = bound_socket.getsockname()[1]
    host = access.host
    if host in ("0.0.0.0", "::", ""):
        host = next(iter(sorted(access.names)), "") or socket.gethostname()
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{port}/" + (f"?token={access.token}" if access.token else "")


def serve(app: FastAPI, bound_socket: socket.socket) -> None:
    """Until SIGINT or SIGTERM; both are a proper end."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE, server_header=False, proxy_headers=False,
        ws_max_size=1 << 20,
    )
    # uvicorn ends its requests on either signal and then raises it once more, for the handler from before.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt), _prepared(app):
            uvicorn.Server(config).run(sockets=[bound_socket])
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _prepared(app: FastAPI) -> Iterator[None]:
    """Meanwhile draws the pictures that the first page will want; with them all that a first reading of a bag loads is there too."""
    stop = threading.Event()
    thread = threading.Thread(target=app.state.studio.thumbnails.prepare, args=(PAGE, stop), name="thumbnails", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(GRACE)
