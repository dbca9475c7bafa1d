"""One HTTP POST and its answer, in bounded time and memory; never raises for what is the receiver's doing.

Knows httpx; nothing of alerts, nor of when to try again.
"""

import asyncio
from collections.abc import Mapping

import httpx

from evaluator.monitoring.alerts.delivery import Answer

MAX_DETAIL = 300


class Post:
    """Posts JSON, as an asynchronous context.

    Redirects are not followed: a receiver that moved is named in the settings, not found on the way.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(timeout=timeout_s, headers={"User-Agent": "liveshelf"})

    async def __aenter__(self) -> "Post":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Send, and read no more of the answer than the log needs."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("POST", url, content=body, headers=sent) as got,
            ):
                detail = b"" if got.is_success else await _beginning(got)
                words = f"{got.status_code} {got.reason_phrase} {detail.decode('utf-8', 'replace')}"
                return Answer(got.status_code, got.headers.get("Retry-After"), words.strip())
        except TimeoutError:
            return Answer(None, detail=f"no answer within {self._timeout_s:g} s")
        except httpx.HTTPError as error:
            return Answer(None, detail=f"{type(error).__name__}: {error}")


async def _beginning(response: httpx.Response) -> bytes:
    read = b""
    async for chunk in response.aiter_bytes(MAX_DETAIL):
        read += chunk
        if len(read) >= MAX_DETAIL:
            break
    return read[:MAX_DETAIL]
