"""Who may do what: keys, rights, origins, and the names by which the collector is called.

Pure: takes the settings and what a request says of itself. Knows nothing of HTTP's bytes.
"""

import hmac
from typing import Literal

from pydantic import SecretStr

from liveshelf.collect.config import CollectConfig
from streams.config import loopback

Right = Literal["page", "write", "read", "metrics"]
"""To send what shoppers do; to send everything; to read shelves; to read the collector's metrics."""

_ALL: frozenset[Right] = frozenset(("page", "write", "read", "metrics"))


class Access:
    """The rules for one server; ``metrics_token`` is what Prometheus sends to every role.

    Examples
    --------
    >>> config = CollectConfig(write_key="w" * 16, page_key="p" * 16, origins=("https://shop.example",))
    >>> access = Access(config, SecretStr("m" * 16))
    >>> [sorted(access.rights(key)) for key in ("w" * 16, "p" * 16, "m" * 16, "x" * 16, None)]
    [['metrics', 'page', 'read', 'write'], ['page'], ['metrics'], [], []]
    >>> access.foreign("https://shop.example"), access.foreign("https://evil.example"), access.foreign(None)
    (False, True, False)
    >>> here = Access(CollectConfig())
    >>> sorted(here.rights(None)), here.misdirected("localhost:8770"), here.misdirected("evil.example")
    (['metrics', 'page', 'read', 'write'], False, True)
    """

    def __init__(self, config: CollectConfig, metrics_token: SecretStr | None = None) -> None:
        write: frozenset[Right] = _ALL - {"read"} if config.read_key else _ALL
        given: tuple[tuple[SecretStr | None, frozenset[Right]], ...] = (
            (config.write_key, write),
            (config.page_key, frozenset({"page"})),
            (config.read_key, frozenset({"read", "metrics"})),
            (metrics_token, frozenset({"metrics"})),
        )
        self._keys: list[tuple[bytes, frozenset[Right]]] = [
            (key.get_secret_value().encode(), rights) for key, rights in given if key is not None
        ]
        self.open = config.write_key is None
        self._origins = frozenset(config.origins)

    def rights(self, key: str | None) -> frozenset[Right]:
        """The rights of a key; in a time that does not depend on how much of the key is right."""
        if self.open:
            return _ALL
        found: frozenset[Right] = frozenset()
        tried = (key or "").encode("utf-8", "replace")
        for known, rights in self._keys:
            if hmac.compare_digest(tried, known):
                found |= rights
        return found

    def foreign(self, origin: str | None) -> bool:
        """Whether a page of an origin that is not listed makes the request."""
        return origin is not None and origin not in self._origins

    def misdirected(self, host: str) -> bool:
        """Whether a request without need of a key names a host that is not this machine: a page whose name resolves to
        this machine could otherwise use the collector (DNS rebinding)."""
        if not self.open:
            return False
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].lower()
        return not loopback(name)
