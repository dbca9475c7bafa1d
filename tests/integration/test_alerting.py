"""Alerts and metrics outside the house: real Alertmanager, real Prometheus, and a webhook's receiver that goes away."""

import asyncio
import contextlib
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import yaml
from kafka import KafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from evaluator.metrics.intervals import wilson
from evaluator.monitoring.alerts import webhook
from evaluator.monitoring.alerts.alert import Alert, encoder
from evaluator.monitoring.alerts.config import AlertsConfig
from evaluator.monitoring.alerts.outbound import Outbound
from evaluator.monitoring.alerts.topic import read
from liveshelf.stack.process import Process
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord
from streams.events.shelf import encoder as shelf_encoder
from streams.kafka import topics
from streams.telemetry.meter import Meter
from tests.clicks import START, browsing
from tests.programs import program
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

DOCKER = Path(__file__).parents[2] / "docker"
SECRET = "whsec_bm9ib2R5IGtub3dzIHRoaXMgc2VjcmV0"
TOKEN = "a token of the tests"
LINK = "https://shop.example/live"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(argv: list[str], url: str, log: Path) -> Iterator[httpx.Client]:
    """A server that is ready, and a client for it; ended by its pid."""
    process = Process(argv, log=log)
    try:
        with httpx.Client(base_url=url, trust_env=False) as client:

            def ready() -> bool:
                assert process.running, log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/-/ready").status_code == 200
                return False

            until(ready, log.read_text)
            yield client
    finally:
        process.stop()


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[httpx.Client]:
    port = free_port()
    argv = [
        program("prometheus-alertmanager", "alertmanager"),
        f"--config.file={DOCKER / 'alertmanager' / 'alertmanager.yml'}",
        f"--storage.path={tmp_path / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with served(argv, f"http://127.0.0.1:{port}", tmp_path / "alertmanager.log") as client:
        yield client


@contextlib.contextmanager
def prometheus(folder: Path, targets: Mapping[str, int], alertmanager: httpx.URL) -> Iterator[httpx.Client]:
    """Prometheus with the configuration of the compose file, but for where things are and how often it looks."""
    config: Any = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DOCKER / "prometheus" / name) for name in config["rule_files"]]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager.netloc.decode()]
    (folder / "token").write_text(TOKEN)
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["authorization"] = {"credentials_file": str(folder / "token")}
        port = targets.get(job["job_name"])
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"] if port else []}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    argv = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with served(argv, f"http://127.0.0.1:{port}", folder / "prometheus.log") as client:
        yield client


class Receiver:
    """A webhook's receiver on one port, which may be away; keeps what it took and what it turned away.

    It answers ``status``, unless ``answers`` says what an alert gets, one try after the other.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 503
        self.answers: dict[str, list[int]] = {}
        self.taken: list[webhook.Message] = []
        self.refused: list[tuple[str, str]] = []
        self._server: http.server.ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/liveshelf"

    def open(self) -> None:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                message = webhook.verify(SECRET, headers, body, time.time())
                answers = receiver.answers.get(message.name)
                status = answers.pop(0) if answers else receiver.status
                if status == 200:
                    receiver.taken.append(message)
                else:
                    receiver.refused.append((message.id, headers["webhook-signature"]))
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.open()
    yield receiver
    receiver.close()


@pytest.fixture
def shop(
    kafka: KafkaConfig,
    redis_db: str,
    topics_config: TopicsConfig,
    tmp_path: Path,
    alertmanager: httpx.Client,
    receiver: Receiver,
) -> Iterator[Shop]:
    shop = Shop(kafka, redis_db, topics_config, tmp_path)
    shop.env |= {
        "LIVESHELF_EVALUATOR__WINDOW_S": "60",
        "LIVESHELF_EVALUATOR__GRACE_S": "10",
        "LIVESHELF_EVALUATOR__IDLE_S": "3600",
        "LIVESHELF_EVALUATOR__WATCH_LEARN": "2000",
        "LIVESHELF_EVALUATOR__WATCH_RUN_LENGTH": "5000",
        "LIVESHELF_EVALUATOR__WATCH_RECOVER": "1000",
        "LIVESHELF_ALERTS__ALERTMANAGER_URL": str(alertmanager.base_url),
        "LIVESHELF_ALERTS__WEBHOOK_URL": receiver.url,
        "LIVESHELF_ALERTS__WEBHOOK_SECRET": SECRET,
        "LIVESHELF_ALERTS__LINK": LINK,
        "LIVESHELF_ALERTS__RESEND_S": "2",
        "LIVESHELF_ALERTS__LONGEST_WAIT_S": "1",
        "LIVESHELF_METRICS__PORT": str(free_port()),
        "LIVESHELF_METRICS__TOKEN": TOKEN,
        "NO_PROXY": "127.0.0.1",
    }
    with shop.open() as shop:
        yield shop


def active(alertmanager: httpx.Client, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = alertmanager.get("/api/v2/alerts", params={"active": "true"}).json()
    return [alert for alert in found if alert["labels"]["alertname"] == name]


def asked(prometheus: httpx.Client, query: str) -> list[dict[str, Any]]:
    """What an instant query gives."""
    answer = prometheus.get("/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def dashboard() -> list[str]:
    """All that the dashboard asks, with values for its variables."""
    panels = json.loads((DOCKER / "grafana" / "dashboards" / "liveshelf.json").read_text())["panels"]
    values = {"$window": "1h", "$surface": "feed", "$arm": "champion", "$__rate_interval": "1m"}
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    for name, value in values.items():
        found = [expression.replace(name, value) for expression in found]
    return found


def test_an_alert_fires_and_is_resolved_everywhere_whoever_is_away(
    shop: Shop, alertmanager: httpx.Client, receiver: Receiver, tmp_path: Path
) -> None:
    port = int(shop.env["LIVESHELF_METRICS__PORT"])
    first, last = [(0.2, 900), (0.02, 570)], [(0.3, 970)]
    visits = sum(count for _, count in first)
    shop.start("evaluator-1", "evaluator")
    shop.produce(shop.topics.events, browsing(first))

    [firing] = until(lambda: active(alertmanager, "click_rate_drop"), shop.log("evaluator-1").read_text)
    assert firing["labels"] == {"alertname": "click_rate_drop", "surface": "feed"}
    assert "clicks" in firing["annotations"]["summary"]
    assert "reference 0." in firing["annotations"]["evidence"]
    assert firing["generatorURL"] == LINK
    until(lambda: active(alertmanager, "click_rate_drop")[0]["updatedAt"] > firing["updatedAt"])

    until(lambda: len(receiver.refused) >= 2)
    assert len({id for id, _ in receiver.refused}) == 1, "it waits for the first alert to be taken"
    receiver.close()

    with prometheus(tmp_path, {"liveshelf-evaluator": port}, alertmanager.base_url) as client:
        until(lambda: asked(client, 'up{job="liveshelf-evaluator"} == 1'))
        until(lambda: asked(client, "liveshelf_evaluator_alerts == 1"))
        tried = until(lambda: asked(client, "liveshelf_evaluator_webhook_again_total > 2"))
        assert tried[0]["metric"]["job"] == "liveshelf-evaluator"
        stages = asked(client, 'liveshelf_evaluator_stage_seconds{quantile="0.5"}')
        assert {found["metric"]["stage"] for found in stages} >= {"join", "commit"}
        groups = client.get("/api/v1/rules").json()["data"]["groups"]
        assert {group["name"] for group in groups} == {"liveshelf-click-rate", "liveshelf-alerts"}
        rules = [rule for group in groups for rule in group["rules"]]
        assert [rule for rule in rules if rule["health"] == "err"] == []
        for expression in dashboard():
            asked(client, expression)
        until(lambda: asked(client, 'ALERTS{alertname="LiveshelfClickRateDrop", alertstate="firing"}'))
        [copy] = until(lambda: active(alertmanager, "LiveshelfClickRateDrop"))
        until(lambda: active(alertmanager, "LiveshelfClickRateDrop")[0]["status"]["inhibitedBy"])
        assert copy["labels"]["surface"] == "feed"

    shop.kill("evaluator-1")
    shop.start("evaluator-1", "evaluator")
    shop.produce(shop.topics.events, browsing(last, start=START + visits * 1_000, seed=6))
    until(lambda: [one.alert.state for one in read(shop.config.kafka, shop.config.topics)][-1:] == ["resolved"])
    until(lambda: active(alertmanager, "click_rate_drop") == [])

    receiver.status = 200
    receiver.open()
    until(lambda: len(receiver.taken) >= 2, shop.log("evaluator-1").read_text)
    told = [(one.alert.state, one.source) for one in read(shop.config.kafka, shop.config.topics)]
    assert told == [(state, "partition-0") for state in ("firing", "resolved")], "a restart tells nothing again"
    assert [message.state for message in receiver.taken] == ["firing", "resolved"], "in order, and only what is news"
    assert receiver.taken[0].id == receiver.refused[0][0], "a message keeps its id over tries and restarts"
    assert receiver.taken[0].since == receiver.taken[1].since
    assert {(message.name, message.link) for message in receiver.taken} == {("click_rate_drop", LINK)}
    assert float(receiver.taken[0].evidence["rate"]) < float(receiver.taken[0].evidence["reference"])

    shown = json.loads(listed(shop, "--json"))
    assert (shown["firing"], [one["name"] for one in shown["ended"]]) == ([], ["click_rate_drop"])
    assert "click_rate_drop" in listed(shop) and "click_rate_drop" not in listed(shop, "--ended", "0")


def listed(shop: Shop, *options: str) -> str:
    """What ``liveshelf alerts ls`` says."""
    command = [sys.executable, "-m", "liveshelf", "alerts", "ls", *options]
    env = {**os.environ, **shop.env, "COLUMNS": "200"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


RARE = {
    "worker": {
        "canary_failed",
        "canary_shelves",
        "events_converted",
        "events_misplaced",
        "holdback_failed",
        "holdback_shelves",
        "items_converted",
        "items_deleted",
        "items_in_two_partitions",
        "items_refused",
        "items_reused",
        "items_swept",
        "model_failed",
        "model_failing",
        "model_gave_way",
        "model_refused",
        "model_switched",
        "renewals_failed",
        "renewed",
        "shadow_failed",
        "shadow_overlap",
        "shadow_shelves",
        "shadow_top",
        "shelves_passes",
        "shelves_taken_out",
        "unreadable",
        "unsent_too_large",
        "unsent_unacceptable",
    },
    "evaluator": {
        "alertmanager_again",
        "alertmanager_refused",
        "examples_forgotten",
        "experiment_clicks",
        "experiment_dispersion",
        "experiment_impressions",
        "experiment_log10_evalue",
        "experiment_ratio",
        "experiment_ratio_high",
        "experiment_ratio_low",
        "experiment_shoppers",
        "unreadable",
        "figures_failed",
        "unsent_too_large",
        "unsent_unacceptable",
        "webhook_delivered",
        "webhook_refused",
    },
    "trainer": {
        "examples_forgotten",
        "gave_up",
        "promoted",
        "refused",
        "rolled_back",
        "runs_failed",
        "runs_trained",
        "unreadable",
    },
}
"""What a role shows once something has happened that this test does not make happen."""


def test_roles_show_what_the_page_of_metrics_lists(shop: Shop) -> None:
    ports = {role: free_port() for role in RARE}
    shop.env |= {f"LIVESHELF_{name}__FOLDER": str(shop.folder / name) for name in ("EXAMPLES", "LEARNING")}
    shop.env["LIVESHELF_MODEL__STORE"] = str(shop.folder / "models")
    about = {f"i{number}": {"title": f"usb cable {number}", "brand": f"b{number % 3}"} for number in range(100)}
    shop.put_items({name: json.dumps({"item_id": name, **said}).encode() for name, said in about.items()})
    for role, port in ports.items():
        shop.env["LIVESHELF_METRICS__PORT"] = str(port)
        shop.start(f"{role}-1", role)
    shop.ready(len(about))
    search = {"type": "search", "event_id": "s1", "ts": START, "user_id": "u1", "query": "usb cable"}
    forget = {"type": "forget", "event_id": "f1", "ts": START, "user_id": "gone"}
    sent = [("u1", json.dumps(search).encode()), ("u1", b"{broken"), ("gone", json.dumps(forget).encode())]
    shop.produce(shop.topics.events, sent)
    events = browsing([(0.2, 900), (0.02, 570)])
    shop.produce(shop.topics.shelves, [(user, shelf(event)) for user, event in events if b'"impression"' in event])
    shop.produce(shop.topics.events, events)
    shop.drained()
    until(lambda: "liveshelf_evaluator_webhook_again_total" in names(ports["evaluator"]))
    page = (DOCKER.parent / "docs" / "metrics.md").read_text()
    for role, port in ports.items():
        listed = set(re.findall(rf"`(liveshelf_{role}_[a-z0-9_{{}}]+)`", page))
        rare = {f"liveshelf_{role}_{name}" for name in RARE[role]}
        always = {name for name in listed if name.removesuffix("_total") not in rare and "{" not in name}
        until(lambda: always <= names(port), lambda: str(always - names(port)), every_s=1)  # noqa: B023
        known = re.compile("|".join(name.replace("{source}", "[a-z]+") for name in listed))
        assert {name for name in names(port) if not known.fullmatch(name)} == set()


def shelf(impression: bytes) -> bytes:
    """The record of the shelf that was seen."""
    seen = json.loads(impression)
    items = [ShelfItem(one["item_id"], 1.0, 0.1, 0.1, 0.1, "vector") for one in seen["items"]]
    made = Shelf(
        shelf_id=seen["shelf_id"],
        surface="feed",
        model="m1",
        arm="champion",
        made_at=seen["ts"] - 1_000,
        event_ts=seen["ts"] - 1_000,
        items=items,
    )
    record = ShelfRecord(key="k", shopper=seen["user_id"], query=None, shelf=made, propensities=[0.5] * len(items))
    return shelf_encoder.encode(record)


def names(port: int) -> set[str]:
    """Names of all samples that a role shows; a summary's count and sum go by its name."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, trust_env=False).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {re.sub("_seconds_(count|sum)$", "_seconds", sample.name) for sample in samples}


def alert(name: str, state: Literal["firing", "resolved"] = "firing") -> bytes:
    until = 2 if state == "resolved" else None
    return encoder.encode(
        Alert(name=name, labels={}, state=state, summary=name, evidence={"n": 1}, since=1, until=until)
    )


def publish(kafka: KafkaConfig, topics_config: TopicsConfig, *told: bytes | None) -> None:
    """Write records to the topic of alerts."""
    producer = KafkaProducer(**kafka.client(), acks="all")
    for value in told:
        producer.send(topics.Topics(topics_config.prefix).alerts, key=b"k", value=value)
    producer.close()


def test_one_evaluator_delivers_and_another_goes_on_where_it_was(
    kafka: KafkaConfig, topics_config: TopicsConfig, receiver: Receiver
) -> None:
    topics.create(kafka, topics_config)
    streams = StreamsConfig(kafka=kafka, topics=topics_config)
    config = AlertsConfig(webhook_url=receiver.url, webhook_secret=SECRET, longest_wait_s=0.2)
    publish(kafka, topics_config, alert("first"))
    meter, group = Meter("evaluator", "e1", 0), f"{topics_config.prefix}hooks"

    async def seen(what: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not what():
                await asyncio.sleep(0.05)

    async def deliver() -> None:
        receiver.status = 200
        one = asyncio.create_task(Outbound(streams, config, group, meter).run())
        await seen(lambda: len(receiver.taken) == 1)
        await asyncio.sleep(1.0)  # the commit
        receiver.status = 503
        publish(kafka, topics_config, alert("first"), alert("second"), alert("first", "resolved"))
        await seen(lambda: len(receiver.refused) >= 3)
        other = asyncio.create_task(Outbound(streams, config, group, meter).run())
        await asyncio.sleep(4.0)  # the group shares the one partition out anew
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)  # what it has under way would be told twice
        receiver.status = 200
        await seen(lambda: len(receiver.taken) >= 3)
        await asyncio.sleep(1.0)  # nothing more comes
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)

    asyncio.run(deliver())
    assert [(one.name, one.state) for one in receiver.taken] == [
        ("first", "firing"),
        ("second", "firing"),  # the first again was no news: who goes on has read what was told before
        ("first", "resolved"),
    ]


def test_what_a_receiver_refuses_or_nobody_can_read_holds_up_nothing(
    kafka: KafkaConfig, topics_config: TopicsConfig, receiver: Receiver
) -> None:
    topics.create(kafka, topics_config)
    streams = StreamsConfig(kafka=kafka, topics=topics_config)
    config = AlertsConfig(
        alertmanager_url=f"http://127.0.0.1:{free_port()}",  # nobody is there
        webhook_url=receiver.url,
        webhook_secret=SECRET,
        longest_wait_s=0.2,
    )
    receiver.answers = {"bad": [400], "busy": [429, 408, 500, 200]}
    receiver.status = 200
    told = (b"no alert", None, alert("bad"), alert("busy"), alert("good"), alert("good", "resolved"))
    publish(kafka, topics_config, *told)
    meter = Meter("evaluator", "e1", 0)

    async def deliver(count: int) -> None:
        running = asyncio.create_task(Outbound(streams, config, f"{topics_config.prefix}hooks", meter).run())
        async with asyncio.timeout(30):
            while len(receiver.taken) < count:
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)  # the commit; and nothing more comes
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(deliver(3))
    asyncio.run(deliver(3))
    assert [(one.name, one.state) for one in receiver.taken] == [
        ("busy", "firing"),
        ("good", "firing"),
        ("good", "resolved"),
    ]
    counts = meter.snapshot(1).counts
    assert {name: count for name, count in counts.items() if name.startswith("webhook")} == {
        "webhook.delivered": 3,
        "webhook.again": 3,
        "webhook.refused": 1,
    }
    assert counts["alertmanager.again"] > 1 and "alertmanager.delivered" not in counts


def checked(*argv: str) -> None:
    """Run a checking program, which must find nothing."""
    done = subprocess.run(argv, cwd=DOCKER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_configurations_are_valid() -> None:
    promtool = program("promtool")
    checked(promtool, "check", "rules", "prometheus/alerts.yml")
    checked(promtool, "check", "config", "--syntax-only", "prometheus/prometheus.yml")
    checked(promtool, "test", "rules", "prometheus/alerts.test.yml")
    checked(program("amtool"), "check-config", "alertmanager/alertmanager.yml")


def test_rules_are_held_to_the_intervals_of_the_evaluator() -> None:
    rates = yaml.safe_load((DOCKER / "prometheus" / "alerts.test.yml").read_text())["tests"][0]
    counts: dict[str, Counter[str]] = {"impressions": Counter(), "clicks": Counter()}
    for series in rates["input_series"]:
        what = "clicks" if "rate_clicks" in series["series"] else "impressions"
        surface = series["series"].partition('surface="')[2].partition('"')[0]
        counts[what][surface] += int(series["values"].partition("x")[0])
    for test in rates["promql_expr_test"]:
        bound = {"liveshelf:ctr": "rate", "liveshelf:ctr_low": "low", "liveshelf:ctr_high": "high"}
        name = test["expr"].removeprefix("round(").removesuffix(" * 1e9)")
        for sample in test["exp_samples"]:
            surface = sample["labels"].partition('surface="')[2].partition('"')[0]
            wanted = wilson(counts["clicks"][surface], counts["impressions"][surface])
            assert sample["value"] == round(getattr(wanted, bound[name]) * 1e9), (name, surface)
        assert len(test["exp_samples"]) == 3
