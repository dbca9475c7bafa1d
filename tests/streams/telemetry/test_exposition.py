"""What Prometheus reads: names, sums over time, quantiles, and who may ask; over real HTTP."""

import http.client
import math
import random
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from streams.config import MetricsConfig
from streams.telemetry.exposition import LEVELS, SPAN_MS, Exposition, Stage, label_name, metric_name
from streams.telemetry.meter import LABEL_LETTERS, Meter, Series, Snapshot, quantiles
from streams.telemetry.metrics_server import MOST_CLIENTS, MetricsError, MetricsServer
from tests.programs import program
from tests.shop import HANG_S, until

TOKEN = "a token of the tests"
Labels = tuple[tuple[str, str], ...]


def samples(text: str) -> dict[tuple[str, Labels], float]:
    """All samples of a page; fails when one is there twice."""
    found: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def shown(exposition: Exposition) -> dict[tuple[str, Labels], float]:
    return samples(generate_latest(exposition).decode())


def filled(clock: int = 3_000) -> Exposition:
    """What a role has shown after three seconds."""
    meter, exposition = Meter("evaluator", "e1", 0), Exposition(lambda: clock)
    meter.series = [
        Series("rate_impressions", {"window": "1h", "arm": ""}, 400.0),
        Series("rate_impressions", {"window": "1h", "arm": "canary"}, 40.0),
        Series("coverage", {}, 0.25),
        Series("drift-statistic", {"watch": "score.psi", "1st": 'é\n"\\'}, math.nan),
    ]
    meter.labels = {"model": "m1", "next": "m2"}
    for second in range(1, 4):
        meter.gauges = {"lag": float(second), "closed": 10.0}
        meter.count("closed", 2)
        meter.count("model.refused")
        meter.time("join", 2.0, weight=3)
        exposition.update(meter.snapshot(second * 1_000))
    return exposition


def test_counts_add_up_and_gauges_are_the_last() -> None:
    found = shown(filled())
    assert found["liveshelf_evaluator_closed_total", ()] == 6
    assert found["liveshelf_evaluator_closed", ()] == 10, "a count and a gauge of one name live side by side"
    assert found["liveshelf_evaluator_model_refused_total", ()] == 3
    assert found["liveshelf_evaluator_lag", ()] == 3
    assert found["liveshelf_evaluator_snapshot_timestamp_seconds", ()] == 3
    assert found["liveshelf_evaluator_info", (("id", "e1"), ("model", "m1"), ("next", "m2"))] == 1


def test_series_keep_their_labels_and_names_become_ones_that_prometheus_takes() -> None:
    found = shown(filled())
    rate = "liveshelf_evaluator_rate_impressions"
    assert found[rate, (("arm", ""), ("window", "1h"))] == 400
    assert found[rate, (("arm", "canary"), ("window", "1h"))] == 40
    assert found["liveshelf_evaluator_coverage", ()] == 0.25
    assert math.isnan(found["liveshelf_evaluator_drift_statistic", (("_1st", 'é\ufffd"\\'), ("watch", "score.psi"))])


def test_hostile_labels_are_short_and_do_no_harm() -> None:
    meter, exposition = Meter("evaluator", "e\x001\ud800", 0), Exposition(lambda: 3_000)
    hostile = ["\x00\x1b[2J\r\n\x85\u2028", "x" * 100_000, "x" * 100_001, 'a"} 1\nliveshelf_evaluator_up{b="', "\udcff"]
    meter.series = [Series("rate", {"surface": text}, float(number)) for number, text in enumerate(hostile)]
    meter.labels = {"model": hostile[0] + hostile[1]}
    exposition.update(meter.snapshot(1_000))
    found = {labels: value for (name, labels), value in shown(exposition).items() if name.endswith("_rate")}
    assert sorted(found.values()) == [0, 1, 2, 3, 4], "each is still told from the others"
    assert all(len(text) <= LABEL_LETTERS for labels in found for _, text in labels)
    page = generate_latest(exposition).decode()
    assert not set(page) & {chr(code) for code in range(32) if chr(code) != "\n"}
    assert "liveshelf_evaluator_up" not in [line.partition("{")[0] for line in page.splitlines()]


def test_a_stage_is_a_summary_in_seconds() -> None:
    found, stage = shown(filled()), ("stage", "join")
    name = "liveshelf_evaluator_stage_seconds"
    assert found[f"{name}_count", (stage,)] == 9
    assert found[f"{name}_sum", (stage,)] == pytest.approx(0.018, rel=0.01)
    for level in LEVELS:
        assert found[name, (("quantile", f"{level:g}"), stage)] == pytest.approx(0.002, rel=0.01)
    later = shown(filled(3_000 + SPAN_MS))
    assert later[f"{name}_count", (stage,)] == 9
    assert math.isnan(later[name, (("quantile", "0.5"), stage)])


def test_nothing_is_shown_before_the_first_snapshot() -> None:
    assert shown(Exposition()) == {} and Exposition().age_s == math.inf


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_name_is_made_one_that_prometheus_takes(name: str, label: str) -> None:
    snapshot = Snapshot(
        role="worker",
        id=name,
        from_ms=0,
        to_ms=1,
        counts={name: 1},
        gauges={label: 1.0},
        sketches={},
        labels={label: name},
        series=[Series(name, {label: name, name: label}, 1.0), Series(name, {label: name, name: label}, 2.0)],
    )
    exposition = Exposition(lambda: 1)
    exposition.update(snapshot)
    shown(exposition)
    assert metric_name("worker", name).isascii() and label_name(label).isidentifier()
    assert not label_name(label).startswith("__")


@settings(deadline=None)
@given(st.lists(st.lists(st.just(0.0) | st.floats(1e-3, 1e6), max_size=30), min_size=1, max_size=8))
def test_quantiles_are_those_of_the_merged_sketches(parts: list[list[float]]) -> None:
    meter, stage, snapshots = Meter("worker", "w", 0), Stage(), []
    for number, values in enumerate(parts):
        for value in values:
            meter.time("score", value)
        snapshots.append(meter.snapshot(number))
        if values:
            stage.update(number, snapshots[-1].sketches["score"])
    timing = stage.get(len(parts), LEVELS)
    assert list(timing.quantiles.values()) == pytest.approx(quantiles(snapshots, "score", LEVELS), nan_ok=True)
    assert timing.count == sum(map(len, parts))
    assert timing.sum == pytest.approx(sum(map(sum, parts)), rel=0.011)


def test_a_stage_keeps_no_more_than_a_minute() -> None:
    meter, stage = Meter("worker", "w", 0), Stage()
    for second in range(600):
        meter.time("score", random.Random(second).random())
        stage.update(second * 1_000, meter.snapshot(second * 1_000).sketches["score"])
    assert len(stage._parts) == SPAN_MS // 1_000
    assert stage.get(599_000, (0.5,)).count == 600


def test_promtool_finds_nothing_to_complain_about_but_names() -> None:
    promtool = program("promtool")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(filled()), capture_output=True, check=False
    )
    assert done.returncode in {0, 3} and b"error while linting" not in done.stderr, done.stderr.decode()


@pytest.fixture
def guarded() -> Iterator[MetricsServer]:
    with MetricsServer(filled(), MetricsConfig(port=0, host="0.0.0.0", token=SecretStr(TOKEN))) as server:
        yield server


def get(server: MetricsServer, path: str = "/metrics", **headers: str) -> tuple[int, str]:
    """Status and text of a page."""
    connection = http.client.HTTPConnection(server.address.split("/")[2], timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_token_opens_the_page_and_nothing_else_does(guarded: MetricsServer) -> None:
    status, text = get(guarded, Authorization=f"Bearer {TOKEN}")
    assert status == 200 and samples(text)["liveshelf_evaluator_closed_total", ()] == 6
    for wrong in (
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        "Bearer é",
    ):
        status, text = get(guarded, Authorization=wrong)
        assert status == 401 and "LIVESHELF_METRICS__TOKEN" in text and "liveshelf_evaluator" not in text
    assert get(guarded)[0] == 401
    assert get(guarded, "/", Authorization=f"Bearer {TOKEN}")[0] == 404


def test_prometheus_and_openmetrics_get_the_same_page(guarded: MetricsServer) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    status, text = get(guarded, Authorization=f"Bearer {TOKEN}", Accept=accept)
    assert status == 200 and samples(text)["liveshelf_evaluator_closed", ()] == 10


def test_health_is_told_without_a_token_and_without_numbers() -> None:
    config = MetricsConfig(port=0)
    with MetricsServer(filled(10_000), config) as well, MetricsServer(filled(60_000), config) as ill:
        assert get(well, "/healthz") == (200, "well\n")
        assert get(ill, "/healthz") == (503, "no report lately\n")
        assert get(well)[0] == 200, "on loopback no token is needed"


def test_clients_that_say_nothing_take_a_bounded_number_of_places() -> None:
    with MetricsServer(filled(), MetricsConfig(port=0)) as server, ExitStack() as stack:
        address = server.address.split("/")[2].split(":")
        for _ in range(MOST_CLIENTS):
            silent = stack.enter_context(socket.create_connection((address[0], int(address[1])), timeout=HANG_S))
        told_to_go = stack.enter_context(socket.create_connection((address[0], int(address[1])), timeout=HANG_S))
        assert told_to_go.recv(1) == b"", "one more is let go at once"
        silent.close()
        until(lambda: answers(server))


def answers(server: MetricsServer) -> bool:
    """Whether the page can be had now."""
    try:
        return get(server)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_port_that_is_taken_is_told_and_one_that_was_ours_can_be_had_again() -> None:
    with MetricsServer(filled(), MetricsConfig(port=0)) as server:
        port = int(server.address.split(":")[2].partition("/")[0])
        with pytest.raises(MetricsError, match="Set LIVESHELF_METRICS__PORT to another port"):
            MetricsServer(filled(), MetricsConfig(port=port)).__enter__()
    with MetricsServer(filled(), MetricsConfig(port=port)) as server:
        assert get(server)[0] == 200


def test_a_silent_client_keeps_nobody_waiting_and_the_end_is_quick(guarded: MetricsServer) -> None:
    host, port = guarded.address.split("/")[2].split(":")
    with socket.create_connection((host, int(port))):
        assert get(guarded, "/healthz")[0] == 200


def test_scrapes_and_updates_may_meet() -> None:
    exposition, stop = filled(), threading.Event()

    def update() -> None:
        meter = Meter("evaluator", "e1", 0)
        for number in range(1_000_000):
            if stop.is_set():
                return
            meter.count(f"count.{number % 97}")
            meter.time(f"stage.{number % 13}", 1.0)
            exposition.update(meter.snapshot(number))

    thread = threading.Thread(target=update)
    thread.start()
    try:
        for _ in range(50):
            shown(exposition)
    finally:
        stop.set()
        thread.join()


def test_sentences_are_left_to_the_page() -> None:
    meter = Meter("trainer", "t", 0)
    meter.labels = {"stage": "canary", "decision": "312 of 1,000 impressions", "verdict_sentence": "better by 3 %"}
    exposition = Exposition(clock=lambda: 1)
    exposition.update(meter.snapshot(1))
    [labels] = [labels for name, labels in shown(exposition) if name == "liveshelf_trainer_info"]
    assert labels == (("id", "t"), ("stage", "canary"))
