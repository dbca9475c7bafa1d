"""Sends events and items to Liveshelf's collector and reads shelves from it. Needs the extra ``http``.

What the collector cannot take now is sent again with the same ids, so that nothing counts twice. What is decided is
written once, as steps that know no connection; `Collector` takes them waiting, `AsyncCollector` awaiting.
"""

import asyncio
import json
import random
import time
import uuid
from collections.abc import Awaitable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, cast
from urllib.parse import quote

import httpx

from liveshelf_client.reading import Question, Shelves
from liveshelf_client.types import Shelf

MOST_OBJECTS, MOST_BYTES = 1_000, 900_000
"""Of one request; the collector takes a little more."""

LONGEST_WAIT_S = 60.0
AGAIN = frozenset((408, 429, 502, 503, 504))
"""Answers after which the same is sent again."""

_COUNTED = ("accepted", "refused", "refusals")

T = TypeVar("T")


class RefusedError(Exception):
    """The collector will not take the request as it is: its status, and its sentence."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(f"{status}: {error}")
        self.status, self.error = status, error


class UnavailableError(Exception):
    """The collector could not be reached, or could not take it, however often it was tried.

    ``unsent`` has the objects that were not acknowledged, with the ids that they were sent with: send them again later
    as they are, since some may have arrived.
    """

    def __init__(self, why: str, unsent: "Sequence[Mapping[str, Any]]" = ()) -> None:
        super().__init__(why)
        self.unsent = list(unsent)


@dataclass
class Answer:
    """How many objects were taken, and why others were refused: each has ``line`` (its place in what was sent, from 1),
    ``reason`` and ``detail``. At most a hundred of each request are told."""

    accepted: int = 0
    refused: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)

    def add(self, told: Mapping[str, Any], before: int) -> None:
        """Add the answer to a request, of which ``before`` objects came before."""
        self.accepted += told["accepted"]
        self.refused += told["refused"]
        self.refusals += [one | {"line": one["line"] + before} for one in told["refusals"]]


class _Request(NamedTuple):
    method: str
    path: str
    params: dict[str, str] = {}  # noqa: RUF012  - never changed
    content: bytes | None = None


class _Reply(NamedTuple):
    status: int
    retry_after: str
    content: bytes


Steps = Generator["_Request | float", "_Reply | str | None", T]
"""What is asked for, one after the other, or seconds to wait; each is answered by a reply, or why there is none."""


def prepared(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event with an ``event_id`` and a ``ts``; those that it has are kept.

    Examples
    --------
    >>> event = prepared({"type": "click", "user_id": "u1", "item_id": "i1"})
    >>> sorted(event), prepared(event) == event
    (['event_id', 'item_id', 'ts', 'type', 'user_id'], True)
    """
    return {"event_id": uuid.uuid4().hex, "ts": time.time_ns() // 1_000_000} | dict(event)


class _Base:
    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        attempts: int = 6,
        first_wait_s: float = 0.5,
        timeout_s: float = 10.0,
        shelf_timeout_s: float = 0.5,
        verify: Any = True,
    ) -> None:
        self._attempts, self._first_wait_s, self._shelf_timeout_s = attempts, first_wait_s, shelf_timeout_s
        self._options: dict[str, Any] = {"base_url": url.rstrip("/"), "timeout": timeout_s, "verify": verify}
        self._options["headers"] = {"Authorization": f"Bearer {key}"} if key else {}

    def _batches(self, path: str, objects: Iterable[Mapping[str, Any]]) -> Steps[Answer]:
        answer, before = Answer(), 0
        every = list(objects)
        encoded = list(map(_line, every))  # first all of them: one that is no JSON must not leave others sent
        while before < len(every):
            lines, size = list[bytes](), 0
            for line in encoded[before : before + MOST_OBJECTS]:
                if lines and size + len(line) > MOST_BYTES:
                    break
                lines.append(line)
                size += len(line)
            reply = yield from self._tried(_Request("POST", path, {}, b"".join(lines)), every[before:])
            answer.add(_told(reply, (200, 202, 400), *_COUNTED), before)
            before += len(lines)
        return answer

    def _one(self, request: _Request, *names: str) -> Steps[dict[str, Any]]:
        reply = yield from self._tried(request, ())
        return _told(reply, (202,), *names)

    def _tried(self, request: _Request, unsent: Sequence[Mapping[str, Any]]) -> Steps[_Reply]:
        why = "it was not tried"
        for attempt in range(self._attempts):
            reply = yield request
            if isinstance(reply, _Reply):
                if reply.status not in AGAIN:
                    return reply
                why = f"the collector answers {reply.status}: {_error(reply)}"
            else:
                why = f"the collector does not answer: {reply}"
            if attempt + 1 < self._attempts:
                asked_s = (
                    float(reply.retry_after) if isinstance(reply, _Reply) and reply.retry_after.isdecimal() else 0.0
                )
                own_s = self._first_wait_s * 2**attempt * random.uniform(0.5, 1.0)
                yield min(max(asked_s, own_s), LONGEST_WAIT_S)
        raise UnavailableError(f"{why}; tried {self._attempts} times", unsent)

    def _shelf(self, question: Question) -> Steps[Shelf | None]:
        """Asked once: a page does not wait for recommendations."""
        given = {"user": question.user, "segment": question.segment, "filter": question.filtered}
        params = {name: value for name, value in given.items() if value and (name, value) != ("segment", "all")}
        path = f"/shelf/{question.surface}/{quote(question.id, safe='', errors='replace')}"
        reply = yield _Request("GET", path, params)
        if not isinstance(reply, _Reply):
            raise UnavailableError(f"the collector does not answer: {reply}")
        if reply.status in AGAIN:
            raise UnavailableError(f"the collector answers {reply.status}: {_error(reply)}")
        return None if reply.status == 404 else cast(Shelf, _told(reply, (200,), "items"))

    def _request(self, client: Any, asked: _Request) -> Any:
        """What to send, by httpx; reads have a timeout of their own."""
        timeout = {"timeout": self._shelf_timeout_s} if asked.method == "GET" else {}
        headers = {"Content-Type": "application/x-ndjson"} if asked.content is not None else {}
        return client.request(
            asked.method, asked.path, params=asked.params, content=asked.content, headers=headers, **timeout
        )


def _delete(item_id: str) -> _Request:
    return _Request("DELETE", f"/items/{quote(item_id, safe='', errors='replace')}")


def _forget(user_id: str | None, session_id: str | None, event: dict[str, Any]) -> _Request:
    named = {name: value for name, value in (("user_id", user_id), ("session_id", session_id)) if value is not None}
    return _Request("POST", "/forget", {}, json.dumps(event | named).encode())


def _line(one: Mapping[str, Any]) -> bytes:
    return json.dumps(one, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass") + b"\n"


def _reply(response: httpx.Response) -> _Reply:
    return _Reply(response.status_code, response.headers.get("Retry-After", ""), response.content)


def _told(reply: _Reply, wanted: tuple[int, ...], *names: str) -> dict[str, Any]:
    """What an answer says; RefusedError where it says another status or has not the form of one, with these names."""
    if reply.status in wanted:
        try:
            found = json.loads(reply.content)
        except ValueError:
            found = None
        if isinstance(found, dict) and "error" not in found and found.keys() >= {*names}:
            return found
    raise RefusedError(reply.status, _error(reply))


def _error(reply: _Reply) -> str:
    try:
        return str(json.loads(reply.content)["error"])
    except (ValueError, KeyError, TypeError):
        return reply.content[:200].decode("utf-8", "replace")


class Collector(_Base, Shelves[Shelf | None]):
    """A collector, by its address and key. Close it, or use it as a context manager; threads may share it.

    Parameters
    ----------
    attempts, first_wait_s
        How often the same is sent while the collector cannot take it, and about how long before the second time; twice
        as long each time, and at least as long as the collector asks for, at most a minute.
    timeout_s, shelf_timeout_s
        How long an answer may take; that of a shelf, which is asked for once.
    verify
        As in httpx: False, or an SSL context.

    Raises
    ------
    RefusedError
        By each method, when the collector refuses the request for good, such as without the right key.
    UnavailableError
        When it cannot be reached, or cannot take it; with what was not acknowledged.
    """

    def __init__(self, url: str, key: str | None = None, **options: Any) -> None:
        super().__init__(url, key, **options)
        self._client = httpx.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: "type[BaseException] | BaseException | TracebackType | None") -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(self, events: Iterable[Mapping[str, Any]]) -> Answer:
        """Send what shoppers do. An event without ``event_id`` or ``ts`` gets one, once: a retry has the same."""
        return self._run(self._batches("/events", map(prepared, events)))

    def put_items(self, items: Iterable[Mapping[str, Any]]) -> Answer:
        """Upsert items; each is complete."""
        return self._run(self._batches("/items", items))

    def delete_item(self, item_id: str) -> None:
        """Delete an item."""
        self._run(self._one(_delete(item_id), *_COUNTED))

    def forget(self, user_id: str | None = None, session_id: str | None = None) -> str:
        """Have a shopper forgotten; the id of the event that the receipt names."""
        return str(self._run(self._one(_forget(user_id, session_id, prepared({})), "event_id"))["event_id"])

    def _read(self, question: Question) -> Shelf | None:
        return self._run(self._shelf(question))

    def _run(self, steps: Steps[T]) -> T:
        reply: _Reply | str | None = None
        while True:
            try:
                asked = steps.send(reply)
            except StopIteration as end:
                return cast(T, end.value)
            if isinstance(asked, float):
                time.sleep(asked)
                reply = None
                continue
            try:
                reply = _reply(self._request(self._client, asked))
            except httpx.RequestError as error:
                reply = f"{type(error).__name__}: {error}"


class AsyncCollector(_Base, Shelves[Awaitable[Shelf | None]]):
    """The same as `Collector`, with methods that are awaited; an asynchronous context manager."""

    def __init__(self, url: str, key: str | None = None, **options: Any) -> None:
        super().__init__(url, key, **options)
        self._client = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: "type[BaseException] | BaseException | TracebackType | None") -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, events: Iterable[Mapping[str, Any]]) -> Answer:
        """As `Collector.send`."""
        return await self._run(self._batches("/events", map(prepared, events)))

    async def put_items(self, items: Iterable[Mapping[str, Any]]) -> Answer:
        """As `Collector.put_items`."""
        return await self._run(self._batches("/items", items))

    async def delete_item(self, item_id: str) -> None:
        """As `Collector.delete_item`."""
        await self._run(self._one(_delete(item_id), *_COUNTED))

    async def forget(self, user_id: str | None = None, session_id: str | None = None) -> str:
        """As `Collector.forget`."""
        return str((await self._run(self._one(_forget(user_id, session_id, prepared({})), "event_id")))["event_id"])

    async def _read(self, question: Question) -> Shelf | None:
        return await self._run(self._shelf(question))

    async def _run(self, steps: Steps[T]) -> T:
        reply: _Reply | str | None = None
        while True:
            try:
                asked = steps.send(reply)
            except StopIteration as end:
                return cast(T, end.value)
            if isinstance(asked, float):
                await asyncio.sleep(asked)
                reply = None
                continue
            try:
                reply = _reply(await self._request(self._client, asked))
            except httpx.RequestError as error:
                reply = f"{type(error).__name__}: {error}"
