"""The live page as people have it: the real command on real servers, looked at with a real browser."""

import asyncio
import re
import socket
import sys
import time
import unicodedata
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from evaluator.monitoring.alerts import alert
from evaluator.monitoring.alerts.alert import Alert
from liveshelf.stack.kafka import LocalKafka
from liveshelf.stack.process import Process
from models.store.slots import Promotion, Slot
from streams.clock import wall_ms
from streams.config import KafkaConfig, StateConfig, TopicsConfig
from streams.events.schema import Item, normalise
from streams.events.schema import encoder as item_encoder
from streams.events.shelf import Shelf, ShelfItem, encoder
from streams.kafka import topics
from streams.redis import keys
from streams.redis.connection import connect
from streams.redis.store import StateStore
from streams.telemetry import meter
from streams.telemetry.meter import Series
from tests.browsers import chromium
from tests.clicks import browsing
from tests.evaluator.dashboard.said import MODEL, drift, evaluator, experiment, rate, trainer, worker
from tests.shop import HANG_S, Shop, databases, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

TOKEN = "a-token-of-the-tests"
DATABASE = 8
SOON_MS = 240_000


@contextmanager
def served(
    env: Mapping[str, str], log: Path, *options: str, program: Sequence[str] = ("-m", "liveshelf")
) -> Iterator[tuple[str, Process]]:
    """The dashboard as a process, and its address once it has told it."""
    process = Process([sys.executable, *program, "dashboard", "--port", "0", *options], log=log, env=env)
    try:

        def address() -> str | None:
            assert process.running, log.read_text()
            found = re.search(r"dashboard at (http://\S+)", log.read_text())
            return found[1] if found else None

        yield until(address, log.read_text), process
    finally:
        process.stop(timeout_s=HANG_S)


def put_shelves(shop: Shop) -> None:
    """A feed and what is popular, written as the worker writes them."""
    now = wall_ms()
    why = ["vector+lexical", "like:i99", "matches:kettle:number", "together:i98", "searched:a%20%3Cb%3Epot"]
    items = [ShelfItem(f"i{number}", 1 - number / 50, 0.01, 0.05, 0.1, why[number % len(why)]) for number in range(20)]
    shelves = [
        (
            key,
            encoder.encode(
                Shelf(
                    shelf_id=uuid.uuid4().hex[:24],
                    surface=surface,
                    model=MODEL,
                    arm="champion",
                    made_at=now,
                    event_ts=now,
                    items=items,
                )
            ),
            now,
        )
        for key, surface in (
            (keys.feed("u1"), "feed"),
            (keys.popular(), "popular"),
            (keys.search("kettle 水 zqxjv"), "search"),
        )
    ]

    async def put() -> None:
        async with connect(shop.config.redis) as redis:
            await StateStore(redis, StateConfig()).put(shelves, ttl_s=600)

    asyncio.run(put())


@pytest.fixture(scope="module")
def shop(kafka: KafkaConfig, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Items, shelves, and an evaluator that has joined some browsing which made an alert fire."""
    own = TopicsConfig(prefix=f"t{uuid.uuid4().hex[:10]}-", partitions=2, compacted_partitions=1)
    made = Shop(kafka, databases(redis_url, [DATABASE])[0], own, tmp_path_factory.mktemp("dashboard"))
    made.env |= {
        "LIVESHELF_EVALUATOR__WINDOW_S": "600",
        "LIVESHELF_EVALUATOR__GRACE_S": "120",
        "LIVESHELF_EVALUATOR__IDLE_S": "3",
        "LIVESHELF_EVALUATOR__WATCH_LEARN": "2000",
        "LIVESHELF_EVALUATOR__WATCH_RUN_LENGTH": "5000",
        "LIVESHELF_EVALUATOR__WATCH_RECOVER": "1000",
    }
    with made.open() as shop:
        items = [Item(item_id=f"i{number}", title=f"Kettle number {number}") for number in range(100)]
        shop.put_items({item.item_id: item_encoder.encode(item) for item in items})
        put_shelves(shop)
        shop.start("evaluator-1", "evaluator")
        # A visit a second that ended so long ago that all has closed by now, and so short ago that it is of this hour.
        shop.produce(shop.topics.events, browsing([(0.2, 700), (0.02, 400)], start=wall_ms() - 1_900_000))
        until(lambda: shop.ends(shop.topics.alerts), shop.log("evaluator-1").read_text)
        yield shop


@pytest.fixture(scope="module")
def address(shop: Shop) -> Iterator[str]:
    """Where the dashboard of the shop is."""
    with served(shop.env, shop.log("dashboard")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser(shop: Shop) -> Iterator[Browser]:
    """A headless Chromium; started after the shop, for its event loop allows no other one beside it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, open; at the end it has complained of nothing and asked nobody else for anything."""
    told, asked = list[str](), set[str]()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.add(request.url))
    page.goto(address)
    yield page
    context.close()
    assert told == []
    assert {url for url in asked if not url.startswith(f"{address}/")} == set()


def test_the_page_shows_what_the_evaluator_measures(page: Page) -> None:
    expect(page.locator("#health-text")).to_contain_text("1 evaluator up", timeout=SOON_MS)
    page.select_option("#rate-window", "1h")
    row = page.locator("#rates tbody tr", has_text="feed").first
    expect(row).to_contain_text("not ours", timeout=SOON_MS)
    expect(row.locator("td").nth(5)).to_have_text(re.compile(r"^\d+\.\d+%\d+\.\d+ \S \d+\.\d+%$"))
    fired = page.locator("#alerts-list .alert", has_text="Fewer clicks")
    expect(fired).to_contain_text("Firing")
    expect(fired.locator("dl")).to_contain_text("reference")
    expect(page.locator("#rate-chart canvas")).to_be_visible()
    expect(page.locator("#rate-chart [role=img]")).to_have_attribute("aria-label", re.compile(r"not ours \d+\.\d+% \("))
    page.locator("#rate-chart summary").click()
    expect(page.locator("#rate-chart details td").first).to_contain_text("%")


def test_it_follows_without_a_reload(page: Page, shop: Shop) -> None:
    expect(page.locator("#health-text")).to_contain_text("No worker reports", timeout=SOON_MS)
    page.evaluate("window.sameDocument = true")
    for _ in range(3):
        shop.produce(shop.topics.metrics, [("worker", meter.encoder.encode(worker(wall_ms(), "w1")))])
        time.sleep(0.2)
    expect(page.locator("#health-text")).to_contain_text("1 worker and 1 evaluator up", timeout=SOON_MS)
    expect(page.locator("#processes")).to_contain_text(MODEL)
    expect(page.locator("#stages")).to_contain_text("end to end")
    late = Alert(
        name="latency",
        labels={"stage": "score"},
        state="firing",
        summary="Scoring takes longer than it may",
        evidence={"p99_ms": 412.5},
        since=wall_ms(),
    )
    shop.produce(shop.topics.alerts, [(late.key, alert.encoder.encode(late))])
    expect(page.locator("#alerts-list")).to_contain_text("Scoring takes longer", timeout=SOON_MS)
    expect(page.locator("#announce")).to_contain_text("Alert: Scoring takes longer than it may.")
    assert page.evaluate("window.sameDocument") is True


def violations(page: Page) -> list[Any]:
    """Of axe-core's rules."""
    found = Axe().run(page).response["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def ask(page: Page, kind: str, value: str) -> None:
    expect(page.locator("#about")).to_contain_text("Titles of 100 items", timeout=SOON_MS)
    page.select_option("#ask-kind", kind)
    page.fill("#ask-value", value)
    page.locator("#ask button").click()


def test_the_inspector_tells_what_each_item_owes_its_place_to(page: Page) -> None:
    ask(page, "feed", "u1")
    rows = page.locator("#shelf tbody tr")
    expect(rows.nth(1)).to_contain_text("like Kettle number 99")
    expect(rows.nth(2)).to_contain_text("matches “kettle”, “number”")
    expect(rows.nth(3)).to_contain_text("seen together with Kettle number 98")
    expect(rows.nth(4)).to_contain_text("like the search “a <b>pot”")
    past = page.locator("#past tbody tr")
    expect(past).to_have_count(3)
    expect(past.first).to_contain_text("Kettle number 99i99like it42, 7, 12, 17")
    expect(page.locator("#explain")).to_be_hidden()


def test_a_search_is_matched_word_by_word_on_demand(page: Page) -> None:
    ask(page, "search", "Kettle 水 zqxjv")
    expect(page.locator("#found-past")).to_be_visible()
    page.locator("#explain").click()
    matches = page.locator("#matches")
    expect(matches.locator("thead th")).to_have_text(["Place", "Item", "“kettle”", "“水”", "“zqxjv”"], timeout=SOON_MS)
    first = matches.locator("tbody tr").first
    expect(first).to_contain_text("Kettle number 0")
    expect(first.locator(".named")).to_have_text(["Kettle"])
    expect(first).to_contain_text("named")
    expect(page.locator("#matches-said")).to_contain_text("Another version made this shelf (" + MODEL)
    ask(page, "feed", "u1")
    expect(matches).to_be_hidden()


def test_the_inspector_by_keyboard_alone(page: Page) -> None:
    expect(page.locator("#about")).to_contain_text("Titles of 100 items", timeout=SOON_MS)
    focused = "document.activeElement.id"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "ask-kind":
            break
    assert page.evaluate(focused) == "ask-kind"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "ask-value"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.type("u1")
    page.keyboard.press("Enter")
    expect(page.locator("#found-said")).to_have_text("The feed of u1.")
    expect(page.locator("#shelf tbody tr")).to_have_count(20)
    first = page.locator("#shelf tbody tr").first
    expect(first).to_contain_text("Kettle number 0")
    expect(first).to_contain_text("alike in meaning, same words")
    expect(page.locator("#found-about")).to_contain_text(f"model {MODEL}, arm champion")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("hdmi cable")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "ask-user"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#found-said")).to_contain_text("no such shelf; a frontend shows what is popular instead")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_everyone_in_light_and_dark(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    expect(page.locator("#rates tbody tr", has_text="feed").first).to_be_visible(timeout=SOON_MS)
    page.fill("#ask-value", "u1")
    page.press("#ask-value", "Enter")
    expect(page.locator("#shelf tbody tr")).to_have_count(20)
    for summary in page.locator("summary:visible").all():
        summary.click()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = max(map(int, re.findall(r"\d+", page.evaluate(ground))[:3])) > 128
    assert light == (scheme == "light")
    assert violations(page) == []
    ask(page, "search", "kettle 水 zqxjv")
    page.locator("#explain").click()
    expect(page.locator("#matches tbody tr")).to_have_count(20, timeout=SOON_MS)
    assert violations(page) == []
    other = "dark" if scheme == "light" else "light"
    before = page.evaluate(ground)
    page.select_option("#theme", other)
    assert page.evaluate(ground) != before
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == other, "the choice is kept"


def test_a_narrow_screen_does_not_scroll_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 420, "height": 800})
    expect(page.locator("#rates tbody tr", has_text="feed").first).to_be_visible(timeout=SOON_MS)
    page.wait_for_function("document.documentElement.scrollWidth <= 420", timeout=SOON_MS)


def test_a_server_that_ends_is_told_and_found_again(browser: Browser, shop: Shop) -> None:
    context = browser.new_context()
    page = context.new_page()
    with served(shop.env, shop.log("dashboard-2")) as (address, process):
        page.goto(address)
        expect(page.locator("#health-text")).to_contain_text("1 evaluator up", timeout=SOON_MS)
        assert process.stop(timeout_s=HANG_S) == 0, "open pages do not keep it from ending"
    expect(page.locator("#health-text")).to_contain_text("lost its server", timeout=SOON_MS)
    port = address.rpartition(":")[2]
    with served(shop.env, shop.log("dashboard-3"), "--port", port):
        expect(page.locator("#health-text")).to_contain_text("1 evaluator up", timeout=SOON_MS)
    context.close()


def test_a_page_that_never_reads_does_not_keep_it_from_ending(shop: Shop) -> None:
    with served(shop.env, shop.log("dashboard-4")) as (address, process):
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as stuck:
            stuck.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            time.sleep(2)
            assert process.stop(timeout_s=HANG_S) == 0


def test_strangers_need_the_token(browser: Browser, shop: Shop) -> None:
    env = shop.env | {"LIVESHELF_DASHBOARD__TOKEN": TOKEN}
    with served(env, shop.log("dashboard-5"), "--host", "0.0.0.0") as (address, _):
        with httpx.Client(base_url=address, trust_env=False) as client:
            assert client.get("/").status_code == 401
            assert client.get("/events").status_code == 401
            assert client.get("/healthz", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{address}/?token={TOKEN}")
        assert page.url == f"{address}/", "the token does not stay in the address"
        expect(page.locator("#health-text")).to_contain_text("1 evaluator up", timeout=SOON_MS)
        assert page.evaluate("document.cookie") == "", "scripts cannot read it"
        context.close()
        port = address.rpartition(":")[2]
        command = [sys.executable, "-m", "liveshelf", "health", "--role", "dashboard"]
        env |= {"LIVESHELF_DASHBOARD__PORT": port}
        assert Process(command, log=shop.log("health"), env=env).wait() == 0
        env |= {"LIVESHELF_DASHBOARD__PORT": "1"}
        assert Process(command, log=shop.log("health"), env=env).wait() == 1


def test_it_refuses_to_be_open_to_strangers(shop: Shop) -> None:
    log = shop.log("refused")
    command = [sys.executable, "-m", "liveshelf", "dashboard", "--host", "0.0.0.0"]
    assert Process(command, log=log, env=shop.env).wait() == 1
    assert "LIVESHELF_DASHBOARD__TOKEN" in log.read_text() and "Traceback" not in log.read_text()


def test_a_port_that_is_taken_is_told(shop: Shop) -> None:
    log = shop.log("taken")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "liveshelf", "dashboard", "--port", port]
        assert Process(command, log=log, env=shop.env).wait() == 1
    assert port in log.read_text() and "--port" in log.read_text() and "Traceback" not in log.read_text()


def test_a_broker_that_comes_late_and_goes_for_a_while(
    shop: Shop, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    broker = LocalKafka(tmp_path / "kafka")
    request.addfinalizer(broker.stop)
    broker.start()
    broker.stop()
    env, log = shop.env | {"KAFKA_BOOTSTRAP_SERVERS": broker.address}, shop.log("dashboard-6")
    other = Shop(KafkaConfig(bootstrap_servers=broker.address), env["REDIS_URL"], shop.config.topics, tmp_path)
    with served(env, log) as (address, _), httpx.Client(base_url=address, trust_env=False) as client:

        def told() -> dict[str, object]:
            found: dict[str, object] = client.get("/api/state").json()["page"]["health"]
            return found

        def reported(*names: str) -> bool:
            snapshots = [("worker", meter.encoder.encode(worker(wall_ms(), name))) for name in names]
            other.produce(other.topics.metrics, snapshots)
            return told()["workers"] == len(names)

        until(lambda: "cannot be read" in str(told()["sentence"]))
        assert client.get("/healthz").status_code == 503
        for names in (["first"], ["first", "second"]):
            broker.start()
            topics.create(other.config.kafka, other.config.topics)
            other.connect()
            until(lambda names=names: reported(*names), log.read_text)  # type: ignore[misc]
            until(lambda: client.get("/healthz").status_code == 200, log.read_text)
            other.disconnect()
            broker.stop()


@pytest.mark.parametrize("path", ["docs/redis.md"])
def test_javascript_spells_queries_as_python_does(page: Page, path: str) -> None:
    """The line that people copy, on all that somebody may call white space."""
    [script] = re.findall(r'\.normalize\("NFKC"\)[^;]*', Path(path).read_text())
    odd = [chr(one) for one in range(0x10000) if unicodedata.category(chr(one)) in {"Zs", "Zl", "Zp", "Cc", "Cf"}]
    queries = [f"{one}A{one}b {one}" for one in odd] + ["ΑΣ İstanbul", "ﬁne Ǆ"]
    spelled = page.evaluate(f"queries => queries.map(query => query{script})", queries)
    assert spelled == list(map(normalise, queries))


def test_the_learning_loop_is_followed_from_stage_to_stage(page: Page, shop: Shop) -> None:
    challenger = "20261125-090000-head-5e6f7081"
    begun = datetime.now(UTC)
    tried = Promotion(challenger, begun, "passed the gate", 0.1)
    arms = {"champion": (18_000, 900), "canary": (2_000, 140)}

    def tell(*snapshots: meter.Snapshot) -> None:
        shop.produce(shop.topics.metrics, [(one.role, meter.encoder.encode(one)) for one in snapshots])

    def hold(**slots: Slot) -> None:
        shop.produce(shop.topics.models, [(name, msgspec.json.encode(slot)) for name, slot in slots.items()])

    here = page.locator("#loop-steps [aria-current=step]")
    expect(page.locator("#loop-now")).to_contain_text("No trainer reports", timeout=SOON_MS)
    expect(here).to_have_count(0)
    tell(trainer(wall_ms(), "training", 0.42))
    expect(here).to_have_text("training", timeout=SOON_MS)
    expect(page.locator("#loop-now")).to_have_text("Training, 42% done.")
    expect(page.locator("#loop-facts")).to_contain_text("fewer clicks than before on feed shelves")
    expect(page.locator("#loop-facts")).to_contain_text("click rate, 5 min ago")
    hold(champion=Slot(Promotion(MODEL, begun - timedelta(days=3), "better nDCG")), challenger=Slot(tried))
    told = evaluator(wall_ms(), experiment(challenger, arms, 0.65, 1.4, 1.02, 1.93), "made")
    tell(told, trainer(wall_ms(), "canary", decision="evidence 4.5 to 1; 20 to 1 is enough", challenger=challenger))
    expect(here).to_have_text("canary", timeout=SOON_MS)
    facts = page.locator("#loop-facts")
    expect(facts).to_contain_text("canary, 10.0% of the shoppers", timeout=SOON_MS)
    expect(facts).to_contain_text("canary 7.00% (5.96 \u2013 8.20%) of 2,000")
    expect(facts).to_contain_text("4.47 to 1, not enoughlog\u2081\u2080 0.65; 1.3, 20 to 1, is enough")
    expect(facts).to_contain_text("1.4 times the champion's click rate1.02 \u2013 1.93")
    expect(facts).to_contain_text("champion for 3.0 d")
    expect(page.locator("#arms tbody tr", has_text="canary")).to_contain_text("1.02 \u2013 1.93")
    expect(page.locator("#loop-lately tbody tr").first).to_contain_text("canary, 10.0%")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert violations(page) == []
    page.set_viewport_size({"width": 420, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= 420", timeout=SOON_MS)
    hold(challenger=Slot(None, (tried,), "fewer clicks than the champion, evidence 31 to 1"))
    tell(trainer(wall_ms(), "idle"))
    expect(here).to_have_text("idle", timeout=SOON_MS)
    expect(page.locator("#loop-lately tbody tr").first).to_contain_text("ended: fewer clicks than the champion")
    expect(facts).not_to_contain_text("canary")


SAME = re.compile(
    r"p99 ms|Liveshelf|English|Wilson|Hoeffding|DDSketch|Redis|log"
    r"|nDCG@10|MRR|ECE|PSI|KS|AUC|\bp(?:50|90|99)?\b|\bP\(|\bn\b|\bE\b"
    r"|[\w.-]*\d[\w.-]*|Acme|made|late.interaction|[Kk]ettle|zqxjv|number|home|shelf:\S+|liveshelf [a-z-]+|pot"
    r"|Scoring takes longer than it may"
)
"""Proper names, units, what items, versions, ids and processes are called, and another program's alert from above."""

VERDICT = (
    "Refused. log_loss: champion 0.3210, challenger 0.3300, difference +0.0090 (+0.0010 to +0.0170); "
    "not all of it is < 0."
)
SHADOWED = "200 shelves in shadow, 0 failed, 1.25 times the champion's time: 10% of the shoppers get it"


def tell_everything(shop: Shop) -> None:
    """Reports and slots with something for every panel, as the processes send them."""
    now, challenger = wall_ms(), "20261125-090000-head-5e6f7081"
    series = [
        *rate("1h", "feed", "champion", MODEL, 20_000, 1_500),
        *rate("1h", "home", "canary", challenger, 2_000, 140),
        *drift("click_rate", 120_000, 100_000, alarm=True),
        *(one for watch in ("queries", "items", "score_psi", "score_ks") for one in drift(watch, 0.2, 0.001)),
        *experiment(challenger, {"champion": (18_000, 900), "canary": (2_000, 140)}, 0.65, 1.4, 1.02, 1.93),
        *(
            Series(f"position_{name}", {"position": "1"}, value)
            for name, value in (("impressions", 90.0), ("clicks", 9.0))
        ),
        *(
            Series(f"measure_{part}", {"measure": measure, "surface": "feed"}, value)
            for measure in ("mrr", "ndcg@10", "diversity@10", "novelty@10", "coverage@10")
            for part, value in (("sum", 60.0), ("count", 100.0))
        ),
        Series("coverage", {}, 0.25),
        *(Series(f"exposure_{part}", {"brand": "Acme"}, value) for part, value in (("sum", 9.0), ("squared", 9.0))),
        *(
            Series(f"calibration_{part}", {"intent": "look", "bin": "3"}, value)
            for part, value in (("count", 100.0), ("predicted", 9.0), ("observed", 8.0))
        ),
    ]
    busy = meter.Meter("worker", "w9", now - 1_000)
    busy.gauges = {"items": 100.0, "lag": 3.0, "redis_paused": 1.0, "switch_progress": 0.5}
    busy.labels = {"model": MODEL, "next": challenger, "redis_pause": ""}
    for stage in ("queue", "state", "encode", "candidates", "score", "policy", "reasons", "write", "end_to_end.search"):
        busy.time(stage, 4.0)
    told = [
        worker(now, "w8"), busy.snapshot(now), evaluator(now, series, "e8"),
        trainer(now, "gate", held_back="nothing was trained yet: cooldown: 12 min left", verdict="refused",
                verdict_sentence=VERDICT, trigger="feed shelves of champion arm: fewer clicks than before"),
    ]  # fmt: skip
    shop.produce(shop.topics.metrics, [(one.role, meter.encoder.encode(one)) for one in told])
    begun = datetime.now(UTC)
    better = Promotion(MODEL, begun, "rolled back from 20261120-1: 40 of 1,000 shelves failed: 1% may")
    tried = Promotion(challenger, begun, SHADOWED, 0.1)
    before = Promotion("20261120-1", begun, "promoted: no challenger")
    slots = {"champion": Slot(better, (before,)), "challenger": Slot(tried)}
    shop.produce(shop.topics.models, [(name, msgspec.json.encode(slot)) for name, slot in slots.items()])


def latin(page: Page, place: str) -> set[str]:
    """Latin words that a part of the page shows, tables of charts and choices included, and are no names."""
    opened = "place => document.querySelectorAll(`${place} details`).forEach((one) => { one.open = true })"
    page.evaluate(opened, place)
    read = "(all, name) => all.map((one) => one.getAttribute(name))"
    labels = [page.eval_on_selector_all(f"{place} [{name}]", read, name) for name in ("aria-label", "title")]
    texts = [page.locator(place).inner_text(), *(text for some in labels for text in some)]
    return {word for text in texts for word in re.findall("[A-Za-z]{2,}", SAME.sub(" ", text))}


PANELS = ("clicks", "alerts", "models", "latency", "drift", "ranking", "loop", "experiment", "inspector")


def test_a_reader_of_chinese_finds_no_english_in_any_panel(browser: Browser, address: str, shop: Shop) -> None:
    context = browser.new_context(locale="zh-CN", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address)
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    expect(page.locator("#about")).to_contain_text("已加载 100 件商品的标题", timeout=SOON_MS)
    tell_everything(shop)
    expect(page.locator("#processes")).to_contain_text("等待 Redis", timeout=SOON_MS)
    expect(page.locator("#loop-facts")).to_contain_text("对数损失：冠军模型 0.3210", timeout=SOON_MS)
    expect(page.locator("#calibration-charts")).to_contain_text("浏览", timeout=SOON_MS)
    expect(page.locator("#alerts-list")).to_contain_text("点击率较此前下降")
    asked = {"u1": "feed", "nobody": "feed", "": "popular", "i5": "similar", "kettle 水 zqxjv": "search"}
    for value, kind in asked.items():
        page.select_option("#ask-kind", kind)
        page.fill("#ask-value", value)
        page.locator("#ask button").click()
        expect(page.locator("#shelf tbody tr")).to_have_count(20)
        assert latin(page, "#inspector") - {"nobody"} == set(), kind
    page.locator("#explain").click()
    expect(page.locator("#matches tbody tr")).to_have_count(20, timeout=SOON_MS)
    found = {place: latin(page, place) for place in (*(f"#{panel}" for panel in PANELS), "header", "nav", "footer")}
    assert {place: words for place, words in found.items() if words} == {}
    assert violations(page) == []
    page.set_viewport_size({"width": 420, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= 420", timeout=SOON_MS)
    context.close()


def test_the_address_comes_before_the_switch_and_that_before_the_browser(browser: Browser, address: str) -> None:
    context = browser.new_context(locale="zh-CN", timezone_id="Asia/Shanghai")
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#clicks-title")).to_have_text("点击率")
    page.select_option("#language", "en")
    expect(page.locator("#clicks-title")).to_have_text("Click rate", timeout=SOON_MS)
    expect(page.locator("#health-text")).to_contain_text("last snapshot", timeout=SOON_MS)
    page.goto(f"{address}/?lang=zh")
    expect(page.locator("#health-text")).to_contain_text("最近快照", timeout=SOON_MS)
    page.select_option("#language", "en")
    expect(page.locator("#clicks-title")).to_have_text("Click rate", timeout=SOON_MS)
    page.reload()
    expect(page.locator("#language")).to_have_value("en", timeout=SOON_MS)
    page.select_option("#language", "zh")
    expect(page.locator("#clicks-title")).to_have_text("点击率", timeout=SOON_MS)
    written = "[f.clock(0), f.moment(0), f.percent(0.1234), f.short(20000)]"
    said = page.evaluate(f"async () => {{ const f = await import('/static/format.js'); return {written}; }}")
    assert said == ["08:00:00", "1月1日 08:00", "12.3%", "2万"]
    context.close()
