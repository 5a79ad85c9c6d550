"""Who may ask: host name, origin, token and size of every request, before anything else sees it.

A page of a stranger can make the browser of a person send requests to 127.0.0.1. Its own name pointed at that address (DNS rebinding) shows
in the Host header, a write or a socket across sites in the Origin header. From another machine every request needs the token.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apprentice_studio.problems import problem

MAX_BODY = 8 << 20
"""bytes (ours): a curve of 200,000 frames in full precision has some 4 million"""
COOKIE = "apprentice_token"
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_SAFE = {"GET", "HEAD", "OPTIONS"}
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:; "
        b"worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
)


def is_local(host: str) -> bool:
    """True for an address that only this machine reaches."""
    return host in LOCAL


def new_token() -> str:
    """192 random bits, as text for an address."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Access:
    """`host`: the address that is bound; other than this machine's own it needs a `token`. `names`: further host names that are ours."""

    host: str = "127.0.0.1"
    token: str = field(default="", repr=False)
    names: frozenset[str] = frozenset()
    max_body: int = MAX_BODY

    def __post_init__(self) -> None:
        if not is_local(self.host) and not self.token:
            raise ValueError(f"{self.host}: other machines reach it, so a token is needed")

    def knows(self, host: str) -> bool:
        """The Host header names this server: localhost, the bound name, or (where a token guards it) this machine or any bare address."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in LOCAL or name in {n.lower() for n in self.names}:
            return True
        if is_local(self.host):
            return False
        # Rebinding needs a name; an address in its place is what the browser really connected to.
        return name in {self.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()} or _is_address(name)

    def accepts(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware over http and websocket scopes."""

    def __init__(self, app: ASGIApp, access: Access):
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await self._refuse(refusal, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.access.max_body:
                raise HTTPException(413, self._too_large)
            return message

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        await self.app(scope, bounded, headed)

    @property
    def _too_large(self) -> str:
        return f"body: larger than {self.access.max_body} bytes"

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self.access.knows(headers.get("host", "")):
            return problem(403, f"Host {headers.get('host', '')[:100]!r} is not a name of this server")
        writes = scope["type"] == "websocket" or scope["method"] not in _SAFE
        if writes and not _same_origin(headers):
            return problem(403, "Origin: writes and sockets come from this server's own pages only")
        if self.access.token:
            denied = self._denied(scope, headers)
            if denied is not None:
                return denied
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.access.max_body:
            return problem(413, self._too_large)
        has_body = int(length) > 0 or "transfer-encoding" in headers
        if writes and has_body and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return problem(415, "Content-Type: a body must be application/json")
        return None

    def _denied(self, scope: Scope, headers: Headers) -> Response | None:
        """None where a right token came with the request; else what to answer. A token in the address moves into a cookie."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token", "")
        if scope["type"] == "http" and scope["path"] == "/" and given and self.access.accepts(given):
            rest = urlencode([(k, v) for k, v in query if k != "token"])
            answer = RedirectResponse("/" + (f"?{rest}" if rest else ""), status_code=303)
            answer.set_cookie(COOKIE, self.access.token, httponly=True, samesite="strict")
            return answer
        if any(self.access.accepts(t) for t in _tokens(headers)):
            return None
        return problem(401, "token: missing or wrong; open the address that `apprentice studio` printed")

    @staticmethod
    async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Closing before accepting answers the handshake with 403.
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
            return
        response.raw_headers.extend(HEADERS)
        await response(scope, receive, send)


def _same_origin(headers: Headers) -> bool:
    """Browsers name the origin of every write; programs that are no browser need not."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    except ValueError:
        return False


def _tokens(headers: Headers) -> Iterable[str]:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield bearer.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return
    if cookie is not None:
        yield cookie.value
