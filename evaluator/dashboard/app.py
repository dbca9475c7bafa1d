"""The live page over HTTP: the page itself, its whole state, its changes, and one shelf.

| path | answer |
|---|---|
| ``/`` and ``/static/*`` | the page |
| ``/api/state`` | the whole state, as JSON |
| ``/events`` | changes, once a second, as server-sent events |
| ``/api/shelf?kind=&value=&user=`` | one shelf with titles |
| ``/api/matches?kind=search&value=&user=`` | which words of a search shelf's items the query's words match |
| ``/metrics`` | the page's own metrics, for Prometheus |
| ``/healthz`` | 200 while the topics are read and changes are published, else 503 and the reason |
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from evaluator.config import DashboardConfig
from evaluator.dashboard.access import Access, Guard
from evaluator.dashboard.feed import Feed, Latest
from evaluator.dashboard.history import History
from evaluator.dashboard.inspector import LONGEST, Question, explain_search, read_shelf
from evaluator.dashboard.language import by_language, language_of, localised, page
from evaluator.dashboard.term_matches import TermMatches
from evaluator.translations import TAGS, Language
from models.store.errors import StoreError
from models.weights import WeightsError
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.events.decode import UNDECODABLE
from streams.redis import connection
from streams.redis.client import ShelfClient
from streams.telemetry.exposition import Exposition
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

EVERY_S = 1.0
AGAIN_MS = 2_000
MOST_READERS = 100
STILL_S = 30.0
"""Reading that has not moved for so long is reported as a problem, even without an error."""


class Dashboard:
    """The application: its routes and its tasks.

    Parameters
    ----------
    streams
        Settings of Kafka and Redis.
    config
        Settings of the page's access.
    history
        The data to show; the feed fills it.

    Attributes
    ----------
    ended
        Called when a task that the page needs has ended; it does not restart in this process.
    failure
        Which task has ended and why; None while all run.
    """

    def __init__(self, streams: StreamsConfig, config: DashboardConfig, history: History) -> None:
        self.history = history
        self.ended: Callable[[], object] = lambda: None
        self.failure: str | None = None
        self._broken: str | None = None
        self.latest = Latest[dict[Language, bytes]]({})
        self._meter = Meter("dashboard", f"{os.uname().nodename}-{os.getpid()}", wall_ms())
        self._exposition = Exposition()
        self._feed = Feed(streams, history, self._meter)
        self._client = ShelfClient.from_url(streams.redis.url.get_secret_value())
        self._matches = TermMatches(streams.model)
        self._currency = config.currency
        self.app = Starlette(
            routes=[
                Route("/", self.page),
                Route("/events", self.events),
                Route("/api/state", self.state),
                Route("/api/shelf", self.shelf),
                Route("/api/matches", self.matches),
                Route("/metrics", self.metrics),
                Route("/healthz", self.health),
                Mount("/static", _Static(packages=[("evaluator.dashboard", "static")])),
            ],
            middleware=[Middleware(Guard, access=Access(config))],
            lifespan=self._lifespan,
        )

    async def page(self, request: Request) -> Response:
        """The page, in the reader's language."""
        language = language_of(request)
        headers = {
            "Cache-Control": "no-cache",
            "Content-Language": TAGS[language],
            "Vary": "Accept-Language, Cookie",
        }
        return Response(page(language, self._currency), media_type="text/html", headers=headers)

    async def state(self, request: Request) -> Response:
        """The whole state."""
        return _json(request, self.history.state(wall_ms()))

    async def events(self, request: Request) -> Response:
        """Changes, until the reader leaves or the server ends."""
        if not self.latest.admit(MOST_READERS):
            return Response("Too many pages are open.\n", 503, {"Retry-After": "5"}, "text/plain")
        return _Stream(self._events(language_of(request)), self.latest.leave)

    async def shelf(self, request: Request) -> Response:
        """One shelf."""
        return await self._answer(
            request, lambda question: read_shelf(self._client, question, self.history.titles, wall_ms())
        )

    async def matches(self, request: Request) -> Response:
        """A search shelf word by word. The first answer takes seconds: the model is loaded."""
        return await self._answer(
            request,
            lambda question: explain_search(self._client, question, self.history.titles, self._matches),
        )

    async def _answer(self, request: Request, answer: Callable[[Question], Any]) -> Response:
        try:
            self._meter.count("questions")
            question = msgspec.convert(dict(request.query_params), Question)
            if not question.value.strip() and question.kind != "popular":
                raise ValueError("value is missing: a user, a query or an item")
            if max(len(question.value), len(question.user)) > LONGEST:
                raise ValueError(f"at most {LONGEST} letters")
        except ValueError as error:  # msgspec's errors are ones
            return _json(request, {"error": str(error)}, 400)
        try:
            return _json(request, await run_in_threadpool(answer, question))
        except (*connection.ERRORS, *UNDECODABLE) as error:
            return _json(request, {"error": f"Redis does not answer as it should: {error}"}, 503)
        except (StoreError, WeightsError, RuntimeError) as error:
            log.exception("the model that explains shelves cannot be used")
            return _json(request, {"error": f"The model cannot be used: {error}"}, 503)

    async def metrics(self, _: Request) -> Response:
        """The page's own metrics."""
        return Response(generate_latest(self._exposition), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def health(self, request: Request) -> Response:
        """Whether the page's data is up to date."""
        problem = self.problem()
        return _json(request, {"reads": problem is None, "problem": problem}, 200 if problem is None else 503)

    def problem(self) -> str | None:
        """The reason why the page's data is not up to date; None where it is."""
        still_s = time.monotonic() - self._feed.moved_at
        still = f"Reading the topics has not gone on for {still_s:.0f} s" if still_s > STILL_S else None
        return self.failure or self.history.problem or self._broken or still

    async def _events(self, language: Language) -> AsyncIterator[bytes]:
        yield b"retry: %d\n\n" % AGAIN_MS
        async for number, message in self.latest.follow():
            data = None if message is None else message[language]
            yield b": still here\n\n" if data is None else b"id: %d\nevent: tick\ndata: %s\n\n" % (number, data)

    async def _publish(self) -> None:
        while True:
            if self.latest.readers or self._broken:
                self._tick()
            self._meter.gauges = {
                "pages": float(self.latest.readers),
                "reads": float(self.problem() is None),
            }
            self._exposition.update(self._meter.snapshot(wall_ms()))
            await asyncio.sleep(EVERY_S)

    def _tick(self) -> None:
        """Publish changes to the pages. After an error it is tried again, since the cause may age out of the data."""
        try:
            self.latest.update(by_language(self.history.tick(wall_ms())))
        except Exception as error:
            if self._broken is None:
                log.exception("what the page shows cannot be computed; trying again every second")
            self._broken = f"What the page shows cannot be computed: {type(error).__name__}: {error}"
        else:
            self._broken = None

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        self.failure = f"{task.get_name()} has ended: " + (f"{type(error).__name__}: {error}" if error else "no error")
        log.critical("%s; the page needs a new process", self.failure, exc_info=error)
        self.ended()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self._feed.run(), name="reading the topics"),
            asyncio.create_task(self._publish(), name="telling the pages"),
        ]
        for task in tasks:
            task.add_done_callback(self._on_end)
        try:
            yield
        finally:
            self.latest.close()
            for task in tasks:
                task.remove_done_callback(self._on_end)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._client.close()


class _Stream(StreamingResponse):
    """Server-sent events to a reader who was admitted; calls ``leave`` however the stream ends."""

    def __init__(self, events: AsyncIterator[bytes], leave: Callable[[], object]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


class _Static(StaticFiles):
    """Files that a browser revalidates at each request."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def _json(request: Request, value: Any, status: int = 200) -> Response:
    """An answer in the reader's language."""
    content = msgspec.json.encode(localised(value, language_of(request)))
    return Response(content, status, media_type="application/json")
