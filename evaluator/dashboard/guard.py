"""Stands before the whole application: asks who it is, and sends the headers that keep a browser safe.

ASGI around the rules of `evaluator.dashboard.access`.
"""

from starlette.datastructures import URL, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evaluator.dashboard.access import COOKIE, Access, Request

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
        """Answer at once, or let the request through."""
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

    def _answer(self, asked: HTTPConnection) -> Response | None:
        headers = asked.headers
        told = Request(
            headers.get("host", ""),
            headers.get("authorization", ""),
            asked.cookies,
            asked.query_params.get("token"),
        )
        match self.access.judge(told):
            case "misdirected":
                return PlainTextResponse(MISDIRECTED, 421)
            case "deny":
                return PlainTextResponse(DENIED, 401, {"WWW-Authenticate": "Bearer"})
            case "enter":
                return self._enter(asked.url)
        return None

    def _enter(self, url: URL) -> Response:
        """Give the cookie, and go on to the same address without the token."""
        clean = url.remove_query_params("token")
        path = f"/{clean.path.lstrip('/')}" + (f"?{clean.query}" if clean.query else "")
        answer = RedirectResponse(path, 303)
        secure = url.scheme == "https"
        answer.set_cookie(COOKIE, self.access.cookie, path="/", httponly=True, samesite="strict", secure=secure)
        return answer
