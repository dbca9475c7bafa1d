"""Lets a request in or refuses it: by the name that it calls, by its origin, by its key, and by how much came before.

Takes starlette's requests and a clock. Knows nothing of bodies or of what is asked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from liveshelf.collect.access import Access, Right
from liveshelf.collect.config import CollectConfig
from liveshelf.collect.limits import Buckets, network


class Refusal(Exception):  # noqa: N818  - as everywhere here
    """A request that is refused: the HTTP status, a sentence for a person, and headers."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who was let in: what they may do, and the buckets that they take from."""

    rights: frozenset[Right]
    key: str
    address: str | None


class Gate:
    """The rules of one server, and what was taken lately."""

    def __init__(self, access: Access, config: CollectConfig) -> None:
        self._access = access
        self._keys = Buckets(config.key_per_s, config.burst_s)
        self._addresses = Buckets(config.address_per_s, config.burst_s)

    def admit(self, request: Request, rights: Sequence[Right], now_s: float) -> Visitor:
        """Let a request in that has one of these rights, for one event.

        Raises
        ------
        Refusal
            When it has none, or too much came before.
        """
        headers = request.headers
        if self._access.misdirected(headers.get("host", "")):
            raise Refusal(421, "without a key this server answers only to the names of this machine, as 127.0.0.1")
        if self._access.foreign(headers.get("origin")):
            raise Refusal(403, "this origin is not listed in collect.origins")
        key = _key(request)
        found = self._access.rights(key)
        own = self._access.open or bool(found - {"page"})
        address = None if own else network(request.client.host if request.client else "")
        visitor = Visitor(found, (key or "") if found else "", address)
        self._wait(visitor, now_s)
        self.charge(visitor, 1, now_s)
        if not found:
            raise Refusal(
                401,
                "send a key as 'Authorization: Bearer KEY', as 'X-API-Key: KEY', or as ?key=KEY",
                {"WWW-Authenticate": "Bearer"},
            )
        if found.isdisjoint(rights):
            raise Refusal(403, "this key may not do that: docs/collect.md says which key may do what")
        return visitor

    def charge(self, visitor: Visitor, count: int, now_s: float) -> None:
        """Take more events from a visitor's buckets."""
        if visitor.rights:
            self._keys.take(visitor.key, count, now_s)
        if visitor.address is not None:
            self._addresses.take(visitor.address, count, now_s)

    def _wait(self, visitor: Visitor, now_s: float) -> None:
        wait_s = self._keys.wait_s(visitor.key, now_s) if visitor.rights else 0.0
        if visitor.address is not None:
            wait_s = max(wait_s, self._addresses.wait_s(visitor.address, now_s))
        if wait_s > 0:
            raise Refusal(429, "too many events: send it again later", {"Retry-After": str(math.ceil(wait_s))})


def _key(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key") or request.query_params.get("key")
