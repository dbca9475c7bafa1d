"""Settings of the collector: where it listens, who may send and read, and how much."""

import re
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from streams.config import Bytes, Config, Few, Seconds, loopback

Key = Annotated[SecretStr, Field(min_length=16, max_length=256)]
Rate = Annotated[float, Field(gt=0, le=1e9)]

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")


class CollectConfig(Config):
    """The collector: events and items over HTTP, and shelves.

    ``write_key`` may send everything, ``page_key`` stands in pages and may only send what shoppers do, ``read_key``
    reads shelves (without one ``write_key`` does). Anywhere but on loopback a ``write_key`` is needed. ``origins`` are
    those whose pages may call it. ``key_per_s`` are the most events of a key a second, ``address_per_s`` those of an
    address that has no key of the shop's own, each ``burst_s`` seconds' worth at once. ``proxies`` are the addresses of
    reverse proxies whose ``X-Forwarded-For`` is believed. ``max_body_bytes`` is counted after decompression,
    ``max_lines`` are the most objects in a body, ``body_s`` is how long a body may take, ``ack_s`` how long Kafka may,
    and ``memory_bytes`` bounds all that is being read or waits for Kafka."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_770
    write_key: Key | None = None
    page_key: Key | None = None
    read_key: Key | None = None
    origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    key_per_s: Rate = 10_000
    address_per_s: Rate = 50
    burst_s: Seconds = 10
    max_body_bytes: Bytes = 1_048_576
    max_lines: Few = 1_000
    body_s: Seconds = 10
    ack_s: Annotated[float, Field(gt=0, le=60)] = 5
    memory_bytes: Bytes = 67_108_864

    @field_validator("write_key", "page_key", "read_key", mode="before")
    @classmethod
    def _set(cls, key: object) -> object:
        return key or None  # an empty variable in the environment sets none

    @field_validator("origins")
    @classmethod
    def _exact(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := next((one for one in origins if not _ORIGIN.fullmatch(one)), None):
            raise ValueError(
                f"{wrong!r} is no origin: a scheme, a name in small letters and perhaps a port, as in "
                "https://www.shop.example, without a path"
            )
        return origins

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        keys = [one.get_secret_value() for one in (self.write_key, self.page_key, self.read_key) if one]
        if keys and self.write_key is None:
            raise ValueError("a page_key or read_key without a write_key would leave everything else open: set it too")
        if self.page_key and self.page_key in (self.write_key, self.read_key):
            raise ValueError("everybody can read page_key in the shop's pages: it must be none of the other keys")
        if not keys and not loopback(self.host):
            raise ValueError(
                f"anybody who reaches {self.host} could send events and items: set LIVESHELF_COLLECT__WRITE_KEY to 16 "
                "characters or more, or LIVESHELF_COLLECT__HOST to 127.0.0.1"
            )
        return self
