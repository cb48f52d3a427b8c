"""Who may ask: the browser that was opened here, and no page of another site.

A one-time token in the printed address becomes a cookie. Host and Origin must be those of this server, so that neither
another site's page nor a name that points to this machine (DNS rebinding) gets an answer; changes need a header that
another site's page cannot send. The content of uploads is limited in size and time.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, NoReturn
from urllib.parse import parse_qs

from ligandsmith.files import MEGABYTE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

HEADER, COOKIE = "x-ligandsmith", "ligandsmith"
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
LARGEST_UPLOAD, LARGEST_BODY = 100 * MEGABYTE, MEGABYTE  # bytes
LARGEST_DRAINED = 2000 * MEGABYTE  # read and thrown away, so that a browser sees why it was refused
SLOWEST_UPLOAD = 120.0  # s
LOGIN_SECONDS = 1.0  # between attempts
UPLOADS = ("/structures", "/molecules")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; worker-src 'self' blob:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
OTHER_ADDRESS = "open the address that `ligandsmith studio` printed"


@dataclass
class Access:
    """The secrets of one server, and the addresses by which it may be asked."""

    hosts: frozenset[str]  # NAME:PORT
    password: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    used: bool = False
    last_login: float = 0.0

    @property
    def cookie(self) -> str:
        """The cookie's name: cookies of all ports of a machine are sent to each of them."""
        return f"{COOKIE}-{hashlib.sha256(''.join(sorted(self.hosts)).encode()).hexdigest()[:8]}"

    def redeem(self, token: str) -> bool:
        """Whether a token is the right one; it is only once."""
        right = not self.used and not self.password and _same(token, self.token)
        self.used = self.used or right
        return right

    def login(self, password: str) -> bool:
        """Whether a password is the right one, one attempt a second."""
        now = time.monotonic()
        waited = now - self.last_login >= LOGIN_SECONDS
        self.last_login = now
        return bool(self.password) and waited and _same(password, self.password)

    def knows(self, cookies: str) -> bool:
        """Whether a request has the cookie of this server."""
        try:
            morsel = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return False
        return morsel is not None and _same(morsel.value, self.session)

    def set_cookie(self) -> str:
        """The header's value that gives it."""
        return f"{self.cookie}={self.session}; Path=/; HttpOnly; SameSite=Strict"


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())


class Guard:
    """An ASGI application that lets only such requests through to another."""

    def __init__(self, app: Application, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer, refuse, or pass on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        answer = _Answer(send, scope["path"])
        if problem := self._foreign(headers):
            await answer.refuse(403, problem)
        elif token := _token(scope):
            await self._with_token(token, headers, answer)
        elif scope["path"] == "/login" or scope["path"].startswith("/static/"):
            await self._limited(scope, receive, answer, headers)
        elif not self.access.knows(headers.get("cookie", "")):
            await self._unknown(scope, answer)
        elif scope["method"] in CHANGING and headers.get(HEADER) != "1":
            await answer.refuse(403, "this request needs the header X-Ligandsmith: 1")
        else:
            await self._limited(scope, receive, answer, headers)

    def _foreign(self, headers: MutableMapping[str, str]) -> str:
        """Why a request may come from somewhere else; empty if not."""
        if headers.get("host", "").lower() not in self.access.hosts:
            return f"this server does not go by the name of this address; {OTHER_ADDRESS}"
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{headers['host'].lower()}":
            return "a page of another site may not ask this server"
        return ""

    async def _with_token(self, token: str, headers: MutableMapping[str, str], answer: "_Answer") -> None:
        if self.access.redeem(token):
            await answer.redirect({"set-cookie": self.access.set_cookie()})
        elif self.access.knows(headers.get("cookie", "")):
            await answer.redirect({})
        elif self.access.used:
            await answer.refuse(403, "this address was used already; start `ligandsmith studio` again for a new one")
        else:
            await answer.refuse(403, f"the token of this address is wrong; {OTHER_ADDRESS}")

    async def _unknown(self, scope: Message, answer: "_Answer") -> None:
        if self.access.password and scope["path"] == "/" and scope["method"] == "GET":
            await answer.redirect({}, "/login")
        else:
            await answer.refuse(403, f"this browser is not known to the server; {OTHER_ADDRESS}")

    async def _limited(
        self, scope: Message, receive: Receive, answer: "_Answer", headers: MutableMapping[str, str]
    ) -> None:
        """Pass on a request whose content is small enough and comes soon enough."""
        body = _Body(receive, LARGEST_UPLOAD if scope["path"].endswith(UPLOADS) else LARGEST_BODY)

        async def send(message: Message) -> None:
            if body.refused is None:  # else the application only says that it could not read the content
                await answer.send(message)

        stated = headers.get("content-length", "0")
        with suppress(_Refused):
            if not stated.isdecimal() or int(stated) > body.largest:
                await body.too_large()
            await self.app(scope, body.receive, send)
        if body.refused is not None and not answer.begun:
            await answer.refuse(body.refused.status, body.refused.detail)


class _Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class _Body:
    """The content of a request, counted and timed."""

    def __init__(self, receive: Receive, largest: int) -> None:
        self.source, self.largest = receive, largest
        self.size, self.began, self.whole = 0, time.monotonic(), False
        self.refused: _Refused | None = None

    async def receive(self) -> Message:
        """The next piece. Raises _Refused where it is too much or too late."""
        if self.whole:  # what comes now is the end of the connection
            return await self.source()
        message = await self._next()
        if self.size > self.largest:
            await self.too_large()
        return message

    async def too_large(self) -> None:
        """Read the rest, then raise."""
        while not self.whole and self.size <= LARGEST_DRAINED:
            await self._next()
        self._refuse(413, f"more than {self.largest // MEGABYTE} MB; give a smaller file, or a packed one (.gz)")

    async def _next(self) -> Message:
        left = SLOWEST_UPLOAD - (time.monotonic() - self.began)
        try:
            message = await asyncio.wait_for(self.source(), max(left, 0))
        except TimeoutError:
            self._refuse(408, f"the file did not come within {SLOWEST_UPLOAD:g} s; try again")
        self.size += len(message.get("body", b""))
        self.whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    def _refuse(self, status: int, detail: str) -> NoReturn:
        self.refused = _Refused(status, detail)
        raise self.refused


class _Answer:
    """Sends answers with the headers that all of them have."""

    def __init__(self, send: Send, path: str) -> None:
        self._send, self.path, self.begun = send, path, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            there = {name for name, _ in message["headers"]}
            more = {name.encode(): value.encode() for name, value in HEADERS.items()}
            more[b"cache-control"] = b"no-store" if self.path.startswith("/api") else b"no-cache"
            extra = [(name, value) for name, value in more.items() if name not in there]
            message = {**message, "headers": [*message["headers"], *extra]}
        await self._send(message)

    async def refuse(self, status: int, detail: str) -> None:
        if self.path.startswith("/api"):
            await self._whole(status, {"content-type": "application/json"}, json.dumps({"detail": detail}).encode())
        else:
            await self._whole(status, {"content-type": "text/plain; charset=utf-8"}, f"{detail}\n".encode())

    async def redirect(self, headers: MutableMapping[str, str], place: str = "/") -> None:
        await self._whole(303, {**headers, "location": place}, b"")

    async def _whole(self, status: int, headers: MutableMapping[str, str], body: bytes) -> None:
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        pairs.append((b"content-length", str(len(body)).encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body})


def _token(scope: Message) -> str:
    if scope["path"] != "/" or scope["method"] != "GET":
        return ""
    return parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
