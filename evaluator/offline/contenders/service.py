"""Asking a service over HTTP: answers kept on disk, requests limited in number and rate, failures tried again.

Knows HTTP and files; nothing of ranking. Settings come from the environment (``EVALUATION_…``). What is kept on disk
are numbers under a hash, and what the answer took, so that a kept answer does not look free. The key of the service and
the texts that were sent are in no file and in no message.
"""

import hashlib
import heapq
import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import msgspec
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from evaluator.monitoring.alerts.delivery import Answer
from evaluator.offline.contenders.contender import Asked, ContenderError, LimitError, ServiceError
from models.store.atomic import write_whole
from streams.runtime.tasks import Backoff

Body = dict[str, Any]
"""A request, as JSON."""

LONGEST_WAIT_S = 30.0
"""The longest wait between two attempts, unless the service asks for more."""


class Kept(msgspec.Struct, kw_only=True):
    """What is kept of an answer: its numbers, None for NaN, and what it took.

    Attributes
    ----------
    seconds
        From the request that was answered to its answer.
    read, written
        Tokens, as the service counts them.
    """

    numbers: list[float | None]
    seconds: float
    read: int = 0
    written: int = 0


class Usage(msgspec.Struct):
    """What services say of tokens: OpenAI's names, and Cohere's and Jina's ``total_tokens``."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Metered(msgspec.Struct):
    """The part of an answer that says what it took."""

    usage: Usage | None = None


class AnswerError(ValueError):
    """An answer that is not what was asked for; the message says what it is, without texts."""


class ServiceConfig(BaseSettings):
    """How services are asked.

    Attributes
    ----------
    api_key
        Sent as a bearer token, over https or to this machine only.
    cache
        Folder of the answers.
    most_requests
        Requests at most, of one contender in one run; answers that are kept cost none.
    at_once
        Requests that run at the same time.
    per_second
        Requests that start in a second; 0 for no limit.
    attempts
        How often a request is tried.
    price_per_million_read, price_per_million_written, price_per_thousand_requests
        What the service costs, in any currency; 0 where it does not cost that way.
    """

    model_config = SettingsConfigDict(env_prefix="EVALUATION_")

    api_key: SecretStr = SecretStr("")
    cache: Path = Path("evaluation-answers")
    most_requests: int = Field(default=2_000, ge=1)
    at_once: int = Field(default=4, ge=1, le=64)
    per_second: float = Field(default=0.0, ge=0)
    timeout_s: float = Field(default=60.0, gt=0)
    attempts: int = Field(default=5, ge=1)
    price_per_million_read: float = Field(default=0.0, ge=0)
    price_per_million_written: float = Field(default=0.0, ge=0)
    price_per_thousand_requests: float = Field(default=0.0, ge=0)


class Service:
    """A service at a URL.

    Parameters
    ----------
    url
        Where it is; ``path`` is added unless the URL ends with it already.

    Raises
    ------
    ContenderError
        When the URL is none, names a password, or would carry the key in the clear.
    """

    def __init__(self, url: str, path: str, config: ServiceConfig | None = None) -> None:
        self.config = config or ServiceConfig()
        self.url = whole(url, path)
        self._key = self.config.api_key.get_secret_value()
        host = httpx.URL(self.url).host
        self._here = _here(host)
        if self._key and not self.url.startswith("https://") and not self._here:
            raise ContenderError(f"The key of {host} would be sent in the clear: give a URL that begins with https://")
        self._headers = {"User-Agent": "liveshelf"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        self._lock, self._sent, self._next = threading.Lock(), 0, 0.0

    def missing(self, bodies: Sequence[Body]) -> int:
        """How many of these requests have no kept answer; equal ones count once."""
        return sum(not file.is_file() for file in {self._file(body) for body in bodies})

    def afford(self, bodies: Sequence[Body]) -> None:
        """Refuse before anything is paid for.

        Raises
        ------
        LimitError
            When these need more requests than may be sent.
        """
        needed, most = self.missing(bodies), self.config.most_requests
        if needed > most:
            raise LimitError(
                f"It needs {needed:,} requests, and {most:,} may be sent. Evaluate fewer cases with --limit, or set "
                f"EVALUATION_MOST_REQUESTS."
            )

    def ask(self, bodies: Sequence[Body], read: Callable[[Any, Body], list[float]]) -> list[list[float]]:
        """The answers to requests, in their order; ``read`` takes the numbers out of an answer, or raises
        :class:`AnswerError`.

        Raises
        ------
        ServiceError
            When the service does not answer, refuses, or answers something else. Answers until then are kept.
        """
        unique = {self._file(body): body for body in bodies}
        new = [(file, body) for file, body in unique.items() if not file.is_file()]
        how: dict[str, Any] = {"timeout": self.config.timeout_s, "headers": self._headers, "trust_env": not self._here}
        with httpx.Client(**how) as client:
            pool = ThreadPoolExecutor(self.config.at_once)
            try:
                list(pool.map(lambda one: self._one(client, one[0], one[1], read), new))
            finally:
                pool.shutdown(cancel_futures=True)
        kept = {file: _kept(file) for file in unique}
        return [[float("nan") if x is None else x for x in kept[self._file(body)].numbers] for body in bodies]

    def took(self, bodies: Sequence[Body]) -> Asked:
        """What requests that were answered took together."""
        kept = [_kept(self._file(body)) for body in bodies]
        read, written = sum(one.read for one in kept), sum(one.written for one in kept)
        prices = (
            (read, self.config.price_per_million_read / 1e6),
            (written, self.config.price_per_million_written / 1e6),
            (len(kept), self.config.price_per_thousand_requests / 1e3),
        )
        price = sum(count * each for count, each in prices) if any(each for _, each in prices) else math.nan
        return Asked(makespan([one.seconds for one in kept], self.config.at_once), read, written, price)

    def _one(self, client: httpx.Client, file: Path, body: Body, read: Callable[[Any, Body], list[float]]) -> None:
        content, seconds = self._content(client, body)
        try:
            numbers = read(msgspec.json.decode(content), body)
        except AnswerError as error:
            raise ServiceError(f"{self.url} answered, but {error}.") from None
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError, IndexError):
            raise ServiceError(f"{self.url} answered, but not in the form of its API.") from None
        read_tokens, written = usage(content)
        kept = Kept(numbers=list(numbers), seconds=seconds, read=read_tokens, written=written)
        write_whole(file, msgspec.json.encode(kept))

    def _content(self, client: httpx.Client, body: Body) -> tuple[bytes, float]:
        """An answer, and the seconds that it took."""
        backoff = Backoff(LONGEST_WAIT_S, first_s=0.5)
        for attempt in range(self.config.attempts):
            self._take_turn()
            started = time.perf_counter()
            content, answer = self._send(client, body)
            if answer.verdict == "delivered":
                return content, time.perf_counter() - started
            if answer.verdict == "refused":
                raise ServiceError(f"{self.url} refuses: {answer.detail}.")
            if attempt + 1 < self.config.attempts:
                time.sleep(backoff.next(answer.asked_s(time.time())))
        tried = f"{self.config.attempts} attempts" if self.config.attempts > 1 else "one attempt"
        raise ServiceError(f"{self.url} gives no answer after {tried}: {answer.detail}.")

    def _send(self, client: httpx.Client, body: Body) -> tuple[bytes, Answer]:
        try:
            got = client.post(self.url, json=body)
        except httpx.TimeoutException:
            return b"", Answer(None, detail=f"nothing within {self.config.timeout_s:g} s")
        except httpx.HTTPError as error:
            return b"", Answer(None, detail=f"{type(error).__name__}: {error}")
        detail = "" if got.is_success else f"{got.status_code} {got.reason_phrase}{_code(got.content)}"
        return got.content, Answer(got.status_code, got.headers.get("Retry-After"), detail)

    def _take_turn(self) -> None:
        """Count a request, and wait until it may start."""
        with self._lock:
            if self._sent >= self.config.most_requests:
                raise LimitError(
                    f"All {self._sent:,} requests that may be sent are sent; their answers are in {self.config.cache}. "
                    f"Set EVALUATION_MOST_REQUESTS higher, and go on with --resume."
                )
            self._sent += 1
            start = max(time.monotonic(), self._next)
            self._next = start + (1 / self.config.per_second if self.config.per_second else 0.0)
        time.sleep(max(0.0, start - time.monotonic()))

    def _file(self, body: Body) -> Path:
        name = hashlib.sha256(msgspec.json.encode([self.url, body], order="sorted")).hexdigest()
        return self.config.cache / name[:2] / f"{name}.json"


def whole(url: str, path: str) -> str:
    """The URL of an endpoint.

    Raises
    ------
    ContenderError
        When it is no URL of http, or names a password.

    Examples
    --------
    >>> [whole(url, "/v1/rerank") for url in ("http://a:1", "https://a/v1/", "https://a/v1/rerank")]
    ['http://a:1/v1/rerank', 'https://a/v1/rerank', 'https://a/v1/rerank']
    """
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL:
        found = httpx.URL("")
    if found.scheme not in {"http", "https"} or not found.host:
        raise ContenderError("A service is named by its URL, such as rerank:http://localhost:8000#MODEL")
    if found.userinfo:
        raise ContenderError("Results name the URL: leave the password out, and set EVALUATION_API_KEY.")
    url = url.rstrip("/")
    if url.endswith(path):
        return url
    first, _, rest = path.strip("/").partition("/")
    return f"{url}/{rest}" if url.endswith(f"/{first}") else f"{url}{path}"


def makespan(seconds: Sequence[float], at_once: int) -> float:
    """How long requests take together, each started as soon as one of so many places is free.

    Examples
    --------
    >>> makespan([1.0, 1.0, 1.0], 2), makespan([], 2)
    (2.0, 0.0)
    """
    places = [0.0] * at_once
    for one in seconds:
        heapq.heapreplace(places, places[0] + one)
    return max(places)


def usage(content: bytes) -> tuple[int, int]:
    """The tokens that an answer says were read and written; zeros where it says nothing that can be read.

    Examples
    --------
    >>> usage(b'{"usage": {"prompt_tokens": 7, "completion_tokens": 1}}'), usage(b'{"usage": {"total_tokens": 9}}')
    ((7, 1), (9, 0))
    """
    try:
        said = msgspec.json.decode(content, type=Metered).usage or Usage()
    except msgspec.MsgspecError:
        return 0, 0
    return said.prompt_tokens or max(0, said.total_tokens - said.completion_tokens), said.completion_tokens


def _kept(file: Path) -> Kept:
    return msgspec.json.decode(file.read_bytes(), type=Kept)


def _here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _code(content: bytes) -> str:
    """The code of a refusal, such as ``model_not_found``; its message may repeat what was sent, and is not told."""
    try:
        found = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    error = found["error"] if isinstance(found.get("error"), dict) else found
    code = error.get("code") or error.get("type") or ""
    return f", {code}" if isinstance(code, str) and re.fullmatch(r"[\w.-]{1,60}", code) else ""
