"""The application over HTTP, without servers: who gets in, with which headers, and the shape of the answers."""

import asyncio
import glob
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from evaluator.config import DashboardConfig
from evaluator.dashboard.access import COOKIE
from evaluator.dashboard.app import Dashboard
from evaluator.dashboard.history import History
from streams.clock import wall_ms
from streams.config import RedisConfig, StreamsConfig
from tests.evaluator.dashboard.said import evaluator, rate, worker

TOKEN = "0123456789-abcdef"
HERE = "http://127.0.0.1:8765"
STATIC = files("evaluator.dashboard").joinpath("static")


def dashboard(**settings: Any) -> Dashboard:
    streams = StreamsConfig(redis=RedisConfig(url=SecretStr("redis://127.0.0.1:1/0")))
    return Dashboard(streams, DashboardConfig(**settings), History())


def get(board: Dashboard, path: str, base: str = HERE, **how: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(board.app)
        async with httpx.AsyncClient(transport=transport, base_url=base, cookies=how.pop("cookies", None)) as client:
            return await client.get(path, **how)

    return asyncio.run(ask())


def test_every_file_the_page_names_is_shipped_and_nothing_is_elsewhere() -> None:
    html = STATIC.joinpath("index.html").read_text()
    board = dashboard()
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
    assert "/static/app.js" in named and "/static/style.css" in named
    pending, seen = [path.removeprefix("/static/") for path in named], set[str]()
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = get(board, f"/static/{path}")
        assert answer.status_code == 200, path
        folder = path.rpartition("/")[0]
        for other in re.findall(r'from "(\.[^"]+)"|^import "(\.[^"]+)"', answer.text, flags=re.M):
            pending.append(_joined(folder, "".join(other)))
    assert {"uplot/uPlot.esm.js", "panels/rates.js", "panels/inspector.js", "store.js"} <= seen
    assert STATIC.joinpath("uplot", "LICENSE").is_file()
    own = [STATIC.joinpath(path).read_text() for path in seen if not path.startswith("uplot/")]
    urls = {url for text in (html, *own) for url in re.findall(r"https?://[^\s\"'`]+", text)}
    assert urls <= {"http://www.w3.org/2000/svg"}, "the page works without a network"
    assert not re.search(r"<script>|<style|\son\w+=|style=", html), "the content security policy would refuse it"


def _joined(folder: str, path: str) -> str:
    parts = folder.split("/") if folder else []
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def test_package_data_names_every_static_file() -> None:
    root = Path(__file__).parents[3]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    package = root / "evaluator" / "dashboard"
    # setuptools matches with glob, whose ** takes files too.
    found = (glob.glob(one, root_dir=package, recursive=True) for one in patterns["evaluator.dashboard"])  # noqa: PTH207
    shipped = {name for names in found for name in names}
    there = {path.relative_to(package).as_posix() for path in (package / "static").rglob("*") if path.is_file()}
    assert there and there <= shipped


def test_the_page_and_its_headers() -> None:
    answer = get(dashboard(), "/")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    for path in ("/", "/static/app.js", "/api/state", "/nothing"):
        headers = get(dashboard(), path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == policy
    assert get(dashboard(), "/api/state").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:1", "[::1]:8765", "LocalHost"])
def test_loopback_names_are_answered(host: str) -> None:
    assert get(dashboard(), "/api/state", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "10.0.0.7:8765", ""])
def test_other_names_are_not_answered_on_loopback(host: str) -> None:
    for path in ("/", "/api/state", "/api/shelf?kind=feed&value=u", "/events", "/static/app.js", "/healthz"):
        assert get(dashboard(), path, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "path", ["/", "/api/state", "/api/shelf?kind=feed&value=u", "/events", "/static/app.js", "/healthz"]
)
def test_without_the_token_nothing_is_shown(path: str) -> None:
    board = dashboard(host="0.0.0.0", token=TOKEN)
    for how in (
        {},
        {"headers": {"Authorization": "Bearer wrong"}},
        {"headers": {"Authorization": TOKEN}},
        {"headers": {"Authorization": f"Basic {TOKEN}"}},
        {"cookies": {COOKIE: TOKEN}},
        {"cookies": {COOKIE: ""}},
        {"headers": {"Authorization": "Bearer "}},
    ):
        answer = get(board, path, "http://shop.example", **how)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert "token" in answer.text and TOKEN not in answer.text
    joined = "&" if "?" in path else "?"
    assert get(board, f"{path}{joined}token=wrong", "http://shop.example").status_code == 401


def test_a_bearer_token_lets_in() -> None:
    board = dashboard(host="0.0.0.0", token=TOKEN)
    assert (
        get(board, "/api/state", "http://shop.example", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    )


def test_the_token_in_the_address_is_exchanged_for_a_cookie_once() -> None:
    board = dashboard(host="0.0.0.0", token=TOKEN)
    answer = get(board, f"/?a=1&token={TOKEN}", "http://shop.example")
    assert answer.status_code == 303 and answer.headers["location"] == "/?a=1"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Secure" not in cookie and TOKEN not in cookie
    value = cookie.partition("=")[2].partition(";")[0]
    assert get(board, "/", "http://shop.example", cookies={COOKIE: value}).status_code == 200
    assert "Secure" in get(board, f"/?token={TOKEN}", "https://shop.example").headers["set-cookie"]
    away = get(board, f"//evil.example/x?token={TOKEN}", "http://shop.example").headers["location"]
    assert away.startswith("/") and not away.startswith("//")
    assert (
        get(dashboard(host="0.0.0.0", token=TOKEN + "2"), "/", "http://h", cookies={COOKIE: value}).status_code == 401
    )


def test_the_token_is_asked_for_on_loopback_too_where_there_is_one() -> None:
    board = dashboard(token=TOKEN)
    assert get(board, "/").status_code == 401
    assert get(board, "/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    bearer = {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}
    assert get(board, "/", headers=bearer).status_code == 421


@pytest.mark.parametrize(
    "settings", [{"host": "0.0.0.0"}, {"host": "shop.example"}, {"token": "short"}, {"host": "::"}]
)
def test_settings_that_would_leave_it_open_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"LIVESHELF_DASHBOARD__TOKEN|at least 16"):
        DashboardConfig(**settings)


def test_the_state_as_json() -> None:
    board, now = dashboard(), wall_ms()
    board.history.update(worker(now), now)
    board.history.update(evaluator(now, rate("1h", "feed", "champion", "m1", 1_000, 40)), now)
    state = get(board, "/api/state").json()
    assert set(state) == {"revision", "step_ms", "closes_after_s", "times", "lines", "page"}
    assert all(len(line["values"]) == len(state["times"]) for line in state["lines"])
    assert state["page"]["rates"][0]["ctr"][0] == pytest.approx(0.04)
    assert state["page"]["health"]["level"] == "ok"


@pytest.mark.parametrize(
    "query", ["", "kind=feed", "kind=feed&value=", "kind=other&value=u", f"kind=feed&value={'u' * 513}", "value=u"]
)
def test_a_question_that_is_none_is_told(query: str) -> None:
    answer = get(dashboard(), f"/api/shelf?{query}")
    assert answer.status_code == 400 and answer.json()["error"]


def test_redis_that_is_away_is_told() -> None:
    answer = get(dashboard(), "/api/shelf?kind=feed&value=u1")
    assert answer.status_code == 503 and "Redis" in answer.json()["error"]


def test_health_tells_what_keeps_it_from_reading() -> None:
    board = dashboard()
    assert get(board, "/healthz").json() == {"reads": True, "problem": None}
    board.history.problem = "Kafka cannot be read"
    answer = get(board, "/healthz")
    assert answer.status_code == 503 and answer.json()["problem"] == "Kafka cannot be read"


def test_the_page_tells_prometheus_of_itself() -> None:
    async def ask() -> str:
        board = dashboard()
        async with board.app.router.lifespan_context(board.app):
            await asyncio.sleep(0)
            transport = httpx.ASGITransport(board.app)
            async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
                await client.get("/api/shelf?kind=feed&value=")
                await asyncio.sleep(1.2)
                return (await client.get("/metrics")).text

    told = asyncio.run(ask())
    assert "liveshelf_dashboard_pages 0.0" in told and "liveshelf_dashboard_questions_total 1.0" in told
    assert get(dashboard(token=TOKEN), "/metrics").status_code == 401
