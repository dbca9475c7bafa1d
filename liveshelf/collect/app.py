"""The collector over HTTP: events and items to Kafka, shelves from Redis.

| path | answer |
|---|---|
| ``POST /events`` | 202 once Kafka has the valid events, with the refusals; 400 where none is valid |
| ``POST /items``, ``DELETE /items/{id}`` | the same for items |
| ``POST /forget`` | 202 once Kafka has the wish to be forgotten |
| ``GET /shelf/{surface}/{id}`` | a shelf, or what to show instead |
| ``GET /liveshelf.js`` | what reports events from a shop's pages |
| ``GET /openapi.json`` | this, for machines |
| ``GET /healthz`` | 200 while records are taken, else 503 and the reason |
| ``GET /metrics`` | for Prometheus |
"""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, get_args
from urllib.parse import unquote

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from liveshelf.collect import body as bodies
from liveshelf.collect import foreign
from liveshelf.collect.access import Access, Right
from liveshelf.collect.batch import (
    MOST_TOLD,
    Answer,
    Draft,
    MalformedError,
    Outcome,
    Refused,
    event_draft,
    forget_draft,
    item_draft,
    lines,
    tombstone,
)
from liveshelf.collect.body import BodyError
from liveshelf.collect.config import CollectConfig
from liveshelf.collect.delivery import AwayError, Delivery
from liveshelf.collect.foreign import Shape
from liveshelf.collect.gate import Gate, Refusal, Visitor
from liveshelf.collect.limits import Budget, FullError, Share
from liveshelf.collect.openapi import Forgotten, Health, Problem, document
from liveshelf.collect.script import compressed, minified
from liveshelf.collect.shelves import Question, chain, etag, first
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.events import decode
from streams.events.adapters.gate import Omission
from streams.kafka.topics import Topics
from streams.redis import connection
from streams.telemetry.exposition import Exposition
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

EVERY_S = 1.0
AGAIN_S = 2
"""What a sender is told to wait for Kafka, Redis or memory."""

REDIS_S = 0.25
TURN_LINES = 64
"""Lines that are validated before others have their turn."""

FORMATS = frozenset(
    (
        "",
        "application/json",
        "application/x-ndjson",
        "application/ndjson",
        "text/plain",
        "application/x-www-form-urlencoded",
    )
)
"""The formats that a body may claim, JSON all of them: the last two are those of ``sendBeacon`` and ``curl -d``."""
METHODS, HEADERS = ("GET", "POST", "DELETE"), ("Authorization", "X-API-Key", "Content-Type", "Content-Encoding")

Make = Callable[[Iterable[bytes]], Iterator[Outcome]]
"""Makes records of the objects of a body."""


class Collector:
    """The application: its routes and its tasks.

    Parameters
    ----------
    streams
        Settings of Kafka, Redis, topics and events.
    config
        Settings of the collector.

    Attributes
    ----------
    ended
        Called when this process can send no more; a supervisor starts another one.
    failure
        Why, then.
    """

    def __init__(self, streams: StreamsConfig, config: CollectConfig) -> None:
        self.ended: Callable[[], object] = lambda: None
        self.failure: str | None = None
        self._streams, self._config, self._topics = streams, config, Topics(streams.topics.prefix)
        self._meter = Meter("collector", f"{os.uname().nodename}-{os.getpid()}", wall_ms())
        self._exposition = Exposition()
        self._budget = Budget(config.memory_bytes)
        self._delivery = Delivery(streams, self._budget, config.ack_s)
        self._gate = Gate(Access(config, streams.metrics.token), config)
        self._redis = connection.connect(streams.redis, timeout_s=REDIS_S)
        self._script = minified(files("liveshelf.collect").joinpath("static", "liveshelf.js").read_text("utf-8"))
        self._script_gzip = compressed(self._script)
        self._described = msgspec.json.encode(document(config))
        self.app = Starlette(
            routes=[
                Route("/events", self.events, methods=["POST"]),
                Route("/items", self.items, methods=["POST"]),
                Route("/items/{id:path}", self.delete, methods=["DELETE"]),
                Route("/forget", self.forget, methods=["POST"]),
                Route("/shelf/{surface}/{id:path}", self.shelf),
                Route("/liveshelf.js", self.script),
                Route("/openapi.json", self.openapi),
                Route("/healthz", self.health),
                Route("/metrics", self.metrics),
            ],
            middleware=[
                Middleware(
                    CORSMiddleware,
                    allow_origins=config.origins,
                    allow_methods=METHODS,
                    allow_headers=HEADERS,
                    expose_headers=("Retry-After", "ETag"),
                )
            ],
            exception_handlers={HTTPException: _http_problem, Exception: _crash},
            lifespan=self._lifespan,
        )

    async def events(self, request: Request) -> Response:
        """Events."""
        return await self._taken(request, "page", self._topics.events, "events")

    async def items(self, request: Request) -> Response:
        """Items."""
        return await self._taken(request, "write", self._topics.items, "items")

    async def delete(self, request: Request) -> Response:
        """Delete an item."""

        async def answer() -> Response:
            self._admit(request, "write")
            draft = tombstone(_last(request, "/items/"), self._streams.events)
            return await self._sent(self._topics.items, "items", [(1, draft)])

        return await self._answer(request, answer)

    async def forget(self, request: Request) -> Response:
        """Have a shopper forgotten."""

        async def answer() -> Response:
            self._admit(request, "write")
            with self._budget.share() as share:
                body = await self._body(request, share)
                found = forget_draft(body, f"forget-{uuid.uuid4().hex}", wall_ms(), self._streams.events)
                if isinstance(found, decode.Refusal):
                    return _json(Problem(f"{found.reason}: {found.detail}"), 400)
                sent = await self._sent(self._topics.events, "events", [(1, found[0])])
            return _json(Forgotten(found[1]), 202) if sent.status_code == 202 else sent

        return await self._answer(request, answer)

    async def shelf(self, request: Request) -> Response:
        """A shelf, or what to show instead."""

        async def answer() -> Response:
            self._admit(request, "read")
            question = _question(request)
            keys = chain(question)
            began = time.perf_counter()
            value = await first(self._redis, keys)
            self._meter.time("redis", (time.perf_counter() - began) * 1000)
            self._meter.count("shelves" if value is not None else "no_shelf")
            if value is None:
                return _json(
                    Problem("there is no such shelf, nor one to show instead: show your own best sellers"), 404
                )
            tag = etag(value)
            shared = f"public, max-age={self._streams.shelf.popular_refresh_s:.0f}"
            headers = {"ETag": tag, "Cache-Control": "private, no-cache" if question.personal else shared}
            headers["Vary"] = "Authorization, X-API-Key"
            if tag in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            return Response(value, headers=headers, media_type="application/json")

        return await self._answer(request, answer)

    async def script(self, request: Request) -> Response:
        """What reports events from a shop's pages."""
        headers = {"Cache-Control": "public, max-age=3600", "Vary": "Accept-Encoding", "ETag": etag(self._script)}
        headers |= {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(self._script_gzip, headers=headers, media_type="text/javascript")
        return Response(self._script, headers=headers, media_type="text/javascript")

    async def openapi(self, _: Request) -> Response:
        """The OpenAPI document."""
        return Response(self._described, media_type="application/json")

    async def health(self, _: Request) -> Response:
        """Whether records are taken."""
        problem = self._delivery.problem
        return _json(Health(problem is None, problem), 200 if problem is None else 503)

    async def metrics(self, request: Request) -> Response:
        """Metrics for Prometheus."""

        async def answer() -> Response:
            self._admit(request, "metrics")
            return Response(generate_latest(self._exposition), media_type=CONTENT_TYPE_PLAIN_0_0_4)

        return await self._answer(request, answer)

    async def _taken(self, request: Request, right: Right, topic: str, what: str) -> Response:
        """Take a body of events or items."""

        async def answer() -> Response:
            visitor = self._admit(request, right)
            with self._budget.share() as share:
                parts = lines(await self._body(request, share))
                if len(parts) > self._config.max_lines:
                    raise BodyError(413, f"{len(parts)} objects; the limit is {self._config.max_lines} a request")
                self._gate.charge(visitor, len(parts) - 1, time.monotonic())
                share.add(sum(map(len, parts)))
                outcomes = await self._outcomes(self._make(request, visitor, topic, share)(parts))
                self._gate.charge(visitor, max(0, len(outcomes) - len(parts)), time.monotonic())
                return await self._sent(topic, what, outcomes)

        return await self._answer(request, answer)

    async def _outcomes(self, made: Iterator[Outcome]) -> list[Outcome]:
        """What became of a body's objects; others have their turn meanwhile."""
        found = []
        for outcome in made:
            found.append(outcome)
            if len(found) > self._config.max_lines:
                raise BodyError(413, f"it makes more than {self._config.max_lines} events: send it in parts")
            if len(found) % TURN_LINES == 0:
                await asyncio.sleep(0)
        return found

    def _make(self, request: Request, visitor: Visitor, topic: str, share: Share) -> Make:
        came_ms, config, items = wall_ms(), self._streams.events, topic == self._topics.items
        if (shape := _shape(request, items=items)) is not None:
            return lambda parts: _counted(foreign.drafts(parts, shape, came_ms, config), share)
        if items:
            return lambda parts: ((number, item_draft(raw, config)) for number, raw in enumerate(parts, 1))
        trusted = "write" in visitor.rights
        return lambda parts: (
            (number, event_draft(raw, came_ms, config, trusted=trusted)) for number, raw in enumerate(parts, 1)
        )

    def _admit(self, request: Request, *rights: Right) -> Visitor:
        """Who asks; raises what refuses the request."""
        return self._gate.admit(request, rights, time.monotonic())

    async def _body(self, request: Request, share: Share) -> bytes:
        gzip = _format(request)
        length = request.headers.get("content-length", "")
        return await bodies.read(
            request.stream(),
            most=self._config.max_body_bytes,
            gzip=gzip,
            within_s=self._config.body_s,
            share=share,
            length=int(length) if length.isdecimal() else None,
        )

    async def _sent(self, topic: str, what: str, outcomes: Sequence[Outcome]) -> Response:
        """Send what is valid, and tell what is not."""
        valid = [(line, draft) for line, draft in outcomes if isinstance(draft, Draft)]
        refusals, omissions = list[Refused](), list[Refused]()
        for line, one in outcomes:
            if isinstance(one, decode.Refusal):
                told = omissions if isinstance(one, Omission) else refusals
                told.append(Refused(line, one.reason, one.detail))
        if valid:
            began = time.perf_counter()
            sent = await self._delivery.send(topic, [draft for _, draft in valid])
            self._meter.time("kafka", (time.perf_counter() - began) * 1000)
            refusals += [
                Refused(line, why.kind, why.detail)
                for (line, _), why in zip(valid, sent, strict=True)
                if why is not None
            ]
        accepted = len(outcomes) - len(refusals) - len(omissions)
        self._meter.count(what, accepted)
        self._meter.count(f"{what}.refused", len(refusals))
        if omissions:
            self._meter.count(f"{what}.left_out", len(omissions))
        refusals.sort(key=lambda one: one.line)
        answer = Answer(accepted, len(refusals), refusals[:MOST_TOLD], len(omissions), omissions[:MOST_TOLD])
        return _json(answer, 202 if accepted or omissions else 400)

    async def _answer(self, request: Request, answer: Callable[[], Awaitable[Response]]) -> Response:
        """An answer, or the refusal that says why there is none."""
        began = time.perf_counter()
        try:
            given = await answer()
        except Refusal as refusal:
            given = _problem(refusal.status, refusal.detail, refusal.headers)
        except BodyError as error:
            given = _problem(error.status, error.detail)
        except (MalformedError, ValueError) as error:  # msgspec's errors are ValueErrors
            given = _problem(400, str(error))
        except FullError:
            given = _problem(503, "too much waits for Kafka: send it again later", _again(AGAIN_S))
        except AwayError as error:
            given = _problem(503, f"{error}: send it again with the same ids", _again(AGAIN_S))
        except connection.ERRORS as error:
            given = _problem(503, f"Redis does not answer as it should: {type(error).__name__}", _again(AGAIN_S))
        except ClientDisconnect:
            given = _problem(400, "the connection was closed before the end of the body")
        self._meter.count(f"status.{given.status_code}")
        self._meter.time("request", (time.perf_counter() - began) * 1000)
        if given.status_code in UNREAD:
            await self._discard(request, given)
        return given

    async def _discard(self, request: Request, given: Response) -> None:
        """Read what is left of a refused body for a moment; where more is left, the connection is closed."""
        try:
            whole = await bodies.discard(request.stream())
        except RuntimeError:  # it has been read to its end
            return
        except ClientDisconnect:
            whole = False
        if not whole:
            given.headers["Connection"] = "close"

    async def _publish(self) -> None:
        while True:
            if (failure := self._delivery.failure) and self.failure is None:
                self.failure = failure
                self.ended()
            self._meter.gauges = {
                "takes": float(self._delivery.problem is None),
                "waiting": float(self._delivery.waiting),
                "held_bytes": float(self._budget.held),
            }
            snapshot = self._meter.snapshot(wall_ms())
            self._exposition.update(snapshot)
            self._delivery.report(snapshot)
            await asyncio.sleep(EVERY_S)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._delivery.run()), asyncio.create_task(self._publish())]
        for task, name in zip(tasks, ("connecting to Kafka", "measuring"), strict=True):
            task.set_name(name)
            task.add_done_callback(self._on_end)
        try:
            yield
        finally:
            for task in tasks:
                task.remove_done_callback(self._on_end)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._delivery.close()
            await self._redis.aclose()

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        """A task has ended: connecting does so when it is done, nothing else may."""
        error = None if task.cancelled() else task.exception()
        if task.get_name() == "connecting to Kafka" and error is None and not task.cancelled():
            return
        self.failure = f"{task.get_name()} has ended: " + (f"{type(error).__name__}: {error}" if error else "no error")
        log.critical("%s; the collector needs a new process", self.failure, exc_info=error)
        self.ended()


UNREAD = frozenset((401, 403, 408, 413, 415, 421, 429, 503))
"""Refusals after which a body may still be under way."""


def _counted(made: Iterator[Outcome], share: Share) -> Iterator[Outcome]:
    """Records that are not the body's own bytes, counted in memory."""
    for line, draft in made:
        if isinstance(draft, Draft):
            share.add(len(draft.key) + len(draft.value or b""))
        yield line, draft


def _shape(request: Request, *, items: bool) -> Shape | None:
    """Whose shape a body has, by ``?format=``; None for our own."""
    given = request.query_params.getlist("format")
    if not given:
        return None
    if items:
        raise ValueError("format is for events; items are sent in our own shape, or from files by liveshelf import")
    shapes: tuple[Shape, ...] = get_args(Shape)
    for shape in shapes:
        if given == [shape]:
            return shape
    raise ValueError(f"format is {', '.join(given)[:80]!r}; it is one of {', '.join(shapes)}")


def _question(request: Request) -> Question:
    """The shelf that is asked for; ValueError for parameters that are none or are given twice."""
    given = dict[str, str]()
    for name, value in request.query_params.multi_items():
        if name in given:
            raise ValueError(f"{name[:80]!r} is given twice")
        given[name] = value
    given.pop("key", None)
    surface = request.path_params["surface"]
    return msgspec.convert(given | {"surface": surface, "id": _last(request, f"/shelf/{surface}/")}, Question)


def _last(request: Request, before: str) -> str:
    """The rest of the path, unescaped; an id may hold slashes. The server has replaced what is no UTF-8, so it is taken
    from the path as it came."""
    raw = request.scope["raw_path"]
    try:
        path = unquote(raw.decode("ascii"), errors="strict")
    except UnicodeDecodeError:
        raise ValueError("the path is no UTF-8 once it is unescaped") from None
    if not path.startswith(before):
        raise ValueError("the path begins with what it should not")
    return path[len(before) :]


def _format(request: Request) -> bool:
    """Whether the body is compressed; BodyError for a format that is not taken."""
    kind, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if kind not in FORMATS:
        raise BodyError(415, f"{kind[:80]!r} is not taken: send application/json, application/x-ndjson or text/plain")
    charset = next((one.partition("=")[2].strip('"') for one in parameters if one.startswith("charset=")), "utf-8")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise BodyError(415, f"{charset[:80]!r} is not taken: send UTF-8")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise BodyError(415, f"{encoding[:80]!r} is not taken: send gzip, or the body as it is")
    return encoding == "gzip"


def _again(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    told = {"Cache-Control": "no-store"} | (headers or {})
    return Response(msgspec.json.encode(value), status, told, "application/json")


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return _json(Problem(decode.refuse("", detail).detail), status, headers)


async def _http_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, str(error.detail), dict(error.headers or {}))


async def _crash(request: Request, error: Exception) -> Response:
    log.error("%s %s cannot be answered", request.method, request.scope["path"], exc_info=error)
    return _problem(500, "an error of the collector; its log says more")
