"""Services as contenders, against a real server on loopback: order, limits, kept answers, and clear failures."""

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from evaluator.offline.contenders.contender import ContenderError, LimitError, make
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions import dimension
from evaluator.offline.dimensions.dimension import Bench
from evaluator.offline.resampling import Resampling

ITEMS = {"a": Document("garden hose"), "b": Document("hose"), "c": Document("tap")}
CASES = [
    Case("1", ("a", "b", "c"), np.full(3, np.nan), "garden hose"),
    Case("2", ("c", "a"), np.full(2, np.nan), "tap"),
]
DATA = EvaluationData("d", "graded", CASES, [], ITEMS)


class Shelf:
    """A server of both APIs that scores by shared words, and that can be told to fail."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self.fail: list[Response] = []
        self.answer: Response | None = None
        self.wait_s = 0.0
        routes = [
            Route("/v1/rerank", self.rerank, methods=["POST"]),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), port=0, log_level="error", lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()

    async def _taken(self, request: Request) -> tuple[dict[str, Any], Response | None]:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(request.headers.get("authorization", ""))
        self.times.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.wait_s)
        self.at_once -= 1
        return body, self.fail.pop(0) if self.fail else self.answer

    async def rerank(self, request: Request) -> Response:
        body, instead = await self._taken(request)
        if instead is not None:
            return instead
        words = set(body["query"].split())
        scored = [(place, len(words & set(text.split()))) for place, text in enumerate(body["documents"])]
        results = [{"index": place, "relevance_score": score} for place, score in sorted(scored, key=lambda s: -s[1])]
        return JSONResponse({"results": results})

    async def chat(self, request: Request) -> Response:
        body, instead = await self._taken(request)
        if instead is not None:
            return instead
        pair = msgspec.json.decode(body["messages"][1]["content"])
        shared = len(set(pair["query"].split()) & set(pair["item"].split()))
        content = f"{min(3, shared)}"
        usage = {"prompt_tokens": 50, "completion_tokens": 1, "total_tokens": 51}
        return JSONResponse({"choices": [{"message": {"role": "assistant", "content": content}}], "usage": usage})


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    found = Shelf()
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVALUATION_CACHE", str(tmp_path / "answers"))
    monkeypatch.setenv("EVALUATION_ATTEMPTS", "2")


def fitted(name: str) -> Any:
    found = make(name)
    found.fit(DATA)
    return found


def scores(name: str) -> list[list[float]]:
    return [part.tolist() for part in fitted(name).score(CASES)]


def test_rerank_scores_come_in_the_order_of_the_documents_and_are_kept(shelf: Shelf) -> None:
    expected = [[2.0, 1.0, 0.0], [1.0, 0.0]]
    assert scores(f"rerank:{shelf.url}#m") == expected
    texts = ["garden hose", "hose", "tap"]
    assert {"model": "m", "query": "garden hose", "documents": texts, "top_n": 3} in shelf.requests
    assert scores(f"rerank:{shelf.url}#m") == expected and len(shelf.requests) == 2, "the second time is from the disk"
    assert scores(f"rerank:{shelf.url}#other") == expected and len(shelf.requests) == 4


def test_a_long_list_is_sent_in_parts(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluator.offline.contenders.remote.MOST_DOCUMENTS", 2)
    assert scores(f"rerank:{shelf.url}") == [[2.0, 1.0, 0.0], [1.0, 0.0]] and len(shelf.requests) == 3


def test_a_shopper_without_a_query_is_known_by_the_past(shelf: Shelf) -> None:
    found = fitted(f"rerank:{shelf.url}")
    found.score([Case("f", ("b",), np.array([np.nan]), history=("a", "c", "a"))])
    assert shelf.requests[0]["query"] == "garden hose; tap"


def test_chat_grades_each_pair_once(shelf: Shelf) -> None:
    assert scores(f"chat:{shelf.url}/v1#m") == [[2.0, 1.0, 0.0], [1.0, 0.0]]
    assert len(shelf.requests) == 5 and {body["temperature"] for body in shelf.requests} == {0}


def test_a_chat_model_that_does_not_grade_is_refused(shelf: Shelf) -> None:
    shelf.answer = JSONResponse({"choices": [{"message": {"content": "I cannot do that"}}]})
    with pytest.raises(ContenderError, match="5 of 5 answers have no grade"):
        scores(f"chat:{shelf.url}#m")


def test_the_key_is_sent_here_and_never_in_the_clear_elsewhere(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATION_API_KEY", "secret-1")
    scores(f"rerank:{shelf.url}")
    assert set(shelf.headers) == {"Bearer secret-1"}
    make("rerank:https://rerank.example")
    with pytest.raises(ContenderError, match="would be sent in the clear") as found:
        make("rerank:http://rerank.example")
    assert "secret-1" not in str(found.value)
    with pytest.raises(ContenderError, match="EVALUATION_API_KEY"):
        make("rerank:https://u:p@rerank.example")


def test_no_key_and_no_text_is_in_a_file_or_a_message(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVALUATION_API_KEY", "secret-1")
    scores(f"rerank:{shelf.url}")
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(kept) == 2 and not any(b"hose" in file.read_bytes() or b"secret" in file.read_bytes() for file in kept)
    words = {"error": {"message": "no garden hose for secret-1", "code": "model_not_found"}}
    shelf.answer = JSONResponse(words, 404)
    with pytest.raises(ContenderError) as found:
        scores(f"rerank:{shelf.url}#new")
    assert "404 Not Found, model_not_found" in str(found.value)
    assert "hose" not in str(found.value) and "secret" not in str(found.value)


def test_a_service_that_is_busy_is_asked_again_when_it_says(shelf: Shelf) -> None:
    shelf.fail = [PlainTextResponse("busy", 429, {"Retry-After": "1"}), PlainTextResponse("down", 503)]
    began = time.monotonic()
    assert scores(f"rerank:{shelf.url}") == [[2.0, 1.0, 0.0], [1.0, 0.0]] and len(shelf.requests) == 4
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (PlainTextResponse("down", 503), "gives no answer after 2 attempts: 503 Service Unavailable"),
        (PlainTextResponse("no", 401), "refuses: 401 Unauthorized"),
        (PlainTextResponse("<html>"), "not in the form of its API"),
        (JSONResponse({"data": []}), "not in the form of its API"),
        (JSONResponse({"results": [{"index": 0, "relevance_score": 1.0}]}), "it scored 1 documents where"),
        (PlainTextResponse('{"results": [{"index": 0, "relevance_score": "high"}]}'), "not in the form of its API"),
    ],
)
def test_failures_are_clear(shelf: Shelf, answer: Response, said: str) -> None:
    shelf.answer = answer
    with pytest.raises(ContenderError, match=said):
        scores(f"rerank:{shelf.url}")


def test_a_service_that_is_away_or_slow_is_said_to_be(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATION_ATTEMPTS", "1")
    monkeypatch.setenv("EVALUATION_TIMEOUT_S", "0.1")
    shelf.wait_s = 1.0
    with pytest.raises(ContenderError, match=r"after one attempt: nothing within 0\.1 s"):
        scores(f"rerank:{shelf.url}")
    with pytest.raises(ContenderError, match="after one attempt: ConnectError"):
        scores("rerank:http://127.0.0.1:9")
    with pytest.raises(ContenderError, match="named by its URL"):
        make("rerank:localhost")
    with pytest.raises(ContenderError, match="URL#MODEL"):
        make("chat:http://localhost")


def test_what_would_cost_too_much_is_refused_before_anything_is_sent(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALUATION_MOST_REQUESTS", "4")
    with pytest.raises(LimitError, match="It needs 5 requests, and 4 may be sent"):
        fitted(f"chat:{shelf.url}#m")
    assert not shelf.requests


def test_attempts_count_as_requests_and_what_was_answered_is_kept(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALUATION_MOST_REQUESTS", "5")
    monkeypatch.setenv("EVALUATION_AT_ONCE", "1")
    shelf.fail = [PlainTextResponse("down", 503)]
    with pytest.raises(LimitError, match="All 5 requests"):
        scores(f"chat:{shelf.url}#m")
    assert len(shelf.requests) == 5
    assert scores(f"chat:{shelf.url}#m") == [[2.0, 1.0, 0.0], [1.0, 0.0]] and len(shelf.requests) == 6


def test_requests_are_limited_in_rate_and_number_at_once(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATION_AT_ONCE", "2")
    shelf.wait_s = 0.05
    scores(f"rerank:{shelf.url}#at-once")
    assert shelf.most_at_once == 2
    monkeypatch.setenv("EVALUATION_PER_SECOND", "10")
    shelf.wait_s, shelf.times = 0.0, []
    began = time.monotonic()
    scores(f"chat:{shelf.url}#slow")
    for number, at in enumerate(sorted(shelf.times)):  # a busy machine makes them later, never earlier
        assert at - began > 0.1 * number - 0.05, shelf.times


def test_kept_answers_cost_what_they_cost_when_they_were_asked_for(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALUATION_AT_ONCE", "2")
    shelf.wait_s = 0.1
    scores(f"chat:{shelf.url}#m")
    monkeypatch.setenv("EVALUATION_PRICE_PER_MILLION_READ", "2")
    monkeypatch.setenv("EVALUATION_PRICE_PER_MILLION_WRITTEN", "10")
    for _ in range(2):  # the second time all answers are from the disk
        found = fitted(f"chat:{shelf.url}#m")
        found.score(CASES)
        first, second = found.asked(CASES)
        assert 0.2 <= first.seconds < 2 and 0.1 <= second.seconds < 1, "three requests, two at once; two requests"
        assert (first.read, first.written) == (150, 3) and first.price == pytest.approx(150 * 2e-6 + 3 * 10e-6)
    assert len(shelf.requests) == 5
    assert np.isnan(fitted(f"rerank:{shelf.url}").score(CASES)[0]).sum() == 0


@pytest.mark.parametrize("kind", ["rerank", "chat"])
def test_the_cost_of_a_service_is_measured_without_calling_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("EVALUATION_PRICE_PER_THOUSAND_REQUESTS", "3")
    shelf.wait_s = 0.02
    bench = bench_of(fitted(f"{kind}:{shelf.url}#m"))
    sent = len(shelf.requests)
    part = dimension.named("cost").measure(bench)
    assert len(shelf.requests) == sent
    of = {one.measure: one for one in part.readings}
    assert of["latency p50"].value is not None and of["latency p50"].value >= 20
    requests = {"rerank": 1.0, "chat": 2.5}[kind]
    assert of["cost per million shelves"].value == pytest.approx(1e6 * requests * 0.003)
    assert ("tokens per shelf" in of) == (kind == "chat") and "throughput" not in of


def test_a_service_that_fails_is_no_finding_of_robustness(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATION_MOST_REQUESTS", "2")
    cases = [replace(case, gains=np.arange(len(case.items), dtype=float)) for case in CASES]
    bench = bench_of(fitted(f"rerank:{shelf.url}"), replace(DATA, cases=cases))
    with pytest.raises(LimitError, match="All 2 requests"):
        dimension.named("robustness").measure(bench)


def bench_of(contender: Any, data: EvaluationData = DATA) -> Bench:
    resampling = Resampling.of([case.group for case in data.cases], 100)
    seconds = {"fit": 0.0, "score": 0.0}
    return Bench(contender, data, contender.score(data.cases), None, resampling, 0, seconds)
