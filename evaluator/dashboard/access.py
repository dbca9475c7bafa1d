"""Access to the page: on loopback for everybody on this machine, elsewhere with the token.

Decides from the settings and the request, before the whole application. A browser sends the token once, in the address,
and then has a cookie that is derived from it. Knows nothing of the page's content.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import URL, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evaluator.config import DashboardConfig
from streams.config import loopback

COOKIE = "liveshelf_dashboard"
Answer = Literal["allow", "enter", "deny", "misdirected"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a decision uses: header ``Host``, header ``Authorization``, cookies, and a token from the address."""

    host: str
    authorization: str
    cookies: Mapping[str, str]
    token: str | None


class Access:
    """The rules for one server.

    Parameters
    ----------
    config
        The address to listen on, and the token.

    Examples
    --------
    >>> access = Access(DashboardConfig(host="0.0.0.0", token="0123456789abcdef"))
    >>> access.check(Request("shop.example", "", {}, None)), access.check(Request("h", "", {}, "0123456789abcdef"))
    ('deny', 'enter')
    >>> access.check(Request("shop.example", "Bearer 0123456789abcdef", {}, None))
    'allow'
    >>> access.check(Request("shop.example", "", {COOKIE: access.cookie}, None))
    'allow'
    >>> here = Access(DashboardConfig())
    >>> here.check(Request("127.0.0.1:8765", "", {}, None)), here.check(Request("evil.example:8765", "", {}, None))
    ('allow', 'misdirected')
    """

    def __init__(self, config: DashboardConfig) -> None:
        self._token = config.token.get_secret_value() if config.token else None
        self._loopback = loopback(config.host)
        digest = hmac.new((self._token or "").encode(), b"liveshelf dashboard", hashlib.sha256)
        self.cookie = digest.hexdigest()

    def check(self, request: Request) -> Answer:
        """The answer to a request; ``enter`` means: set the cookie, and remove the token from the address.

        On loopback the header ``Host`` must be loopback too. Otherwise a foreign page whose name resolves to this
        machine could read ours (DNS rebinding).
        """
        if self._loopback and not loopback(_name(request.host)):
            return "misdirected"
        if self._token is None:
            return "allow"
        scheme, _, token = request.authorization.partition(" ")
        if scheme.lower() == "bearer" and _same(token.strip(), self._token):
            return "allow"
        if request.token is not None:
            return "enter" if _same(request.token, self._token) else "deny"
        return "allow" if _same(request.cookies.get(COOKIE, ""), self.cookie) else "deny"


def _name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
DENIED = (
    "This page needs its token: send it as 'Authorization: Bearer TOKEN', or open the page once with ?token=TOKEN at "
    "the end of the address. If you have just followed a link with the token, load the page again.\n"
)
MISDIRECTED = "This server answers only to the names of this machine: open it as 127.0.0.1 or localhost.\n"


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or redirect, or pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._answer(HTTPConnection(scope))
        await (answer or self.app)(scope, receive, headed)

    def _answer(self, connection: HTTPConnection) -> Response | None:
        headers = connection.headers
        request = Request(
            headers.get("host", ""),
            headers.get("authorization", ""),
            connection.cookies,
            connection.query_params.get("token"),
        )
        match self.access.check(request):
            case "misdirected":
                return PlainTextResponse(MISDIRECTED, 421)
            case "deny":
                return PlainTextResponse(DENIED, 401, {"WWW-Authenticate": "Bearer"})
            case "enter":
                return self._enter(connection.url)
        return None

    def _enter(self, url: URL) -> Response:
        """Set the cookie, and redirect to the same address without the token."""
        clean = url.remove_query_params("token")
        path = f"/{clean.path.lstrip('/')}" + (f"?{clean.query}" if clean.query else "")
        answer = RedirectResponse(path, 303)
        secure = url.scheme == "https"
        answer.set_cookie(COOKIE, self.access.cookie, path="/", httponly=True, samesite="strict", secure=secure)
        return answer
