"""What processes compose is known in Chinese: every sentence that their code can say, fields filled in as it does."""

import math
import re
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from evaluator.dashboard.panels.system import ProcessRow, health
from evaluator.gate.config import GateConfig
from evaluator.gate.figures.quality import NO_CHOICE
from evaluator.gate.report import conclude
from evaluator.gate.thresholds import CHAMPION, Figure, checked
from evaluator.monitoring.alerts.alertmanager import AlertmanagerState
from evaluator.monitoring.alerts.config import AlertsConfig
from evaluator.monitoring.alerts.restarts import restarted
from evaluator.monitoring.alerts.system import SystemMonitor
from evaluator.monitoring.alerts.webhook import request, verify
from evaluator.monitoring.detectors.detector import Reading
from evaluator.monitoring.registry import KINDS, Key, _alert
from evaluator.retraining import triggers
from evaluator.retraining.config import TriggerConfig
from evaluator.retraining.run_history import RunHistory
from evaluator.retraining.training_run import Trigger
from evaluator.retraining.triggers import TriggerInputs
from evaluator.rollout.config import RolloutConfig
from evaluator.rollout.evidence import Canary, CanaryEvidence, Shadow
from evaluator.rollout.policy import decide
from evaluator.translations import Language, Translations, live, preferred, read
from models.measures.names import (
    EXPOSURE_BY_BRAND,
    EXPOSURE_BY_ITEM,
    LATENCY_P99,
    LOG_LOSS,
    NDCG,
    candidates,
    perturbed,
)
from streams.telemetry.meter import Meter, Series

NAMES = {"nDCG", "MRR", "Redis", "Kafka", "Schema", "Registry", "p50", "p99", "broker"}
"""Words that Chinese texts write in Latin letters too."""

FIELD = re.compile(r"\{[a-z_]+\}")

Known = tuple[float, float, float] | None
Ends = tuple[float, float] | None

SECRET = "a secret of 16 letters"

counts = st.integers(0, 30_000)
ratios = st.floats(0.2, 3) | st.just(math.nan)


def english(text: str, *quoted: str) -> set[str]:
    """The English words that are left of a text in Chinese; ``quoted`` are names that the text was given."""
    chinese = live().say(text, "zh")
    for name in quoted:
        chinese = chinese.replace(name, "")
    return set(re.findall(r"[A-Za-z][A-Za-z0-9]*", chinese)) - NAMES


@given(
    shadow=st.builds(Shadow, counts, st.integers(0, 9), ratios, ratios, ratios),
    late=st.booleans(),
    ready=st.integers(0, 2),
)
def test_decisions_on_a_shadow(shadow: Shadow, late: bool, ready: int) -> None:
    seen = CanaryEvidence("shadow", "m2", 0, 0.0, 2, ready, 700_000 if late else 0, shadow=shadow)
    for now in (0, 10**10):
        words = decide(RolloutConfig(), seen, now).words
        assert english(words) == set(), words
        assert (
            english(f"rolled back: {words}") == english(f"given up: {words}") == english(f"promoted: {words}") == set()
        )


@given(
    canary=st.builds(
        Canary, counts, st.integers(0, 20), counts, st.just(900), counts, st.just(800), ratios, st.floats(0, 1.2),
        st.floats(-2, 12), st.floats(-2, 4),
    ),
    changed=st.booleans(),
)  # fmt: skip
def test_decisions_on_a_canary(canary: Canary, changed: bool) -> None:
    seen = CanaryEvidence("canary", "m2", 0, 0.1, 2, 2, champion_changed=changed, canary=canary)
    for now in (0, 10**10):
        assert english(words := decide(RolloutConfig(), seen, now).words) == set(), words
    assert english(decide(RolloutConfig(), CanaryEvidence(), 0).words) == set()


@given(examples=counts, minutes=st.integers(0, 3_000), runs=st.integers(0, 9))
def test_triggers_and_what_holds_them_back(examples: int, minutes: int, runs: int) -> None:
    config, now = TriggerConfig(), 0
    book = RunHistory(config)
    first = Trigger(reason="schedule", summary="nothing was trained yet", evidence={}, at=0, examples=5_000)
    for number in range(runs):
        if not book.begin(first, f"run-{number}", "trainer-1", "p1", now):
            book.end(f"run-{number}", "p1", now, "trained", undecided=5_000 if number % 2 else 0)
        now += 3_600_000
    book.begin(first, "last", "trainer-1", "p1", now)
    drop = _alert(Key("click_rate", "feed", "champion"), Reading(True, 2.0, 1.0, {}), now)
    for alerts in ([], [drop]):
        found = triggers.decide(config, TriggerInputs(alerts, examples), book, now + minutes * 60_000)
        if found is not None:
            assert english(found.summary) == set(), found.summary
            told = f"{found.summary}: {found.words}"
            assert english(told, "trainer-1") == set(), told


@given(
    data=st.lists(
        st.tuples(
            st.sampled_from([(LOG_LOSS, ""), (NDCG, ""), (NDCG, perturbed("typo")), (LATENCY_P99, candidates(1_000))]),
            st.none() | st.tuples(st.floats(0.01, 2), st.floats(0.01, 2), st.floats(-1, 1)),
            st.none() | st.tuples(st.floats(-1, -0.01), st.floats(0.01, 1)),
            counts,
        ),
        min_size=1,
    )
)
def test_verdicts_of_the_gate(data: list[tuple[tuple[str, str], Known, Ends, int]]) -> None:
    gate = GateConfig().thresholds
    figures = [
        Figure(
            measure=measure, segment=segment, value=known and known[0], reference=known and known[1],
            difference=known and known[2], difference_low=ends and ends[0], difference_high=ends and ends[1],
            count=count, counted="queries", note="" if known else NO_CHOICE,
        )
        for (measure, segment), known, ends, count in data
    ]  # fmt: skip
    figures.append(Figure(measure=EXPOSURE_BY_BRAND, difference=0.9, note="most to 'a b', from 'c'"))
    figures.append(Figure(measure=EXPOSURE_BY_ITEM, difference=0.9, counted="lists"))
    checks = [
        checked(asked, one, reference=CHAMPION) for asked in gate.threshold for one in figures if asked.matches(one)
    ]
    for shoppers in (0, 100):
        found = conclude(checks, figures, shoppers=shoppers, queries=100, contexts=0, config={})
        assert english(found.sentence, "a b", "c") == set(), found.sentence


@given(
    rows=st.lists(
        st.builds(
            ProcessRow, st.sampled_from(["worker", "evaluator", "trainer", "collector"]), st.just("p"), st.booleans(),
            st.floats(0, 1_000), st.sampled_from([0.0, 1e6]), st.booleans(), st.just("m"), st.just(""), st.just(1.0),
            st.none(), st.just(0.0),
        ),
        max_size=5,
    ),
    rate=st.sampled_from([0.0, 5.0]),
    firing=st.integers(0, 2),
    grave=st.integers(0, 5),
)  # fmt: skip
def test_the_sentence_at_the_top(rows: list[ProcessRow], rate: float, firing: int, grave: int) -> None:
    faults = [restarted(f"worker-{number}", number + 1, 31, "exit code 70") for number in range(grave)]
    for problem in (None, "Kafka at shop:9092 cannot be read"):
        sentence = health(rows, rate, firing, problem, faults).sentence
        names = [f"{first}orker-{number}" for first in "wW" for number in range(grave)]
        assert english(sentence, *names, "exit code 70", "shop:9092") == set(), sentence


def test_alerts() -> None:
    for watch in KINDS:
        for key in (Key(watch), Key(watch, "feed"), Key(watch, "feed", "canary")):
            alert = _alert(key, Reading(True, 2.0, 1.0, {}), 0)
            assert english(alert.summary) == set(), alert.summary
    told = live().say("feed shelves of canary arm: fewer clicks than before", "zh")
    assert told == "信息流列表（金丝雀）：点击率较此前下降"
    assert live().say("home_page shelves of no arm: fewer clicks than before", "zh").startswith("home_page列表")


def test_alerts_are_sent_in_the_language_of_the_settings() -> None:
    drop = _alert(Key("click_rate", "feed", "canary"), Reading(True, 2.0, 1.0, {"holdback rate": 0.05}), 0)
    assert AlertsConfig().language == "en"
    texts: dict[Language, tuple[str, str]] = {
        "en": ("feed shelves of canary arm: fewer clicks than before", "holdback rate 0.05, statistic 2, limit 1"),
        "zh": ("信息流列表（金丝雀）：点击率较此前下降", "对照组比率 0.05，统计量 2，阈值 1"),
    }
    for language, (summary, evidence) in texts.items():
        state = AlertmanagerState(60_000, language=language)
        state.update(drop, 0)
        [sent] = state.get(1)
        assert sent["annotations"] == {"summary": summary, "evidence": evidence}
        assert sent["labels"] == {"surface": "feed", "arm": "canary", "alertname": "click_rate_drop"}
        body, headers = request(drop, "msg_1", SECRET, 1_700_000_000, language=language)
        read_back = verify(SECRET, headers, body, 1_700_000_000)
        assert (read_back.summary, read_back.evidence) == (summary, drop.evidence)
    assert drop.summary == texts["en"][0], "the topic's stays English"


def test_alerts_on_the_system() -> None:
    monitor = SystemMonitor()
    told = dict.fromkeys(("topic", "partition", "offset"), "7") | {"error": "its checksum is wrong"}
    for now in range(0, 300_000, 5_000):
        meter = Meter("worker", "h-1-a", now)
        meter.gauges = {"redis_paused": 1.0, "model_failing": 1.0}
        meter.labels = {"redis_pause": "", "model_failing": "v1"}
        meter.series = [Series("unreadable", told, 1.0)]
        monitor.update(meter.snapshot(now + 1), now + 1)
        if now < 100_000:
            monitor.update(Meter("evaluator", "h-2-a", now).snapshot(now + 1), now + 1)
        found = monitor.get(now + 1)
    assert {one.name for one in found} == {"redis_paused", "model_failing", "unreadable_partition", "role_silent"}
    for one in found:
        assert english(one.summary, "liveshelf dead-letters skip", "v1") == set(), one.summary


def test_translations_fill_in_the_same_fields() -> None:
    for name, table in read("evaluator", "sentences.toml").items():
        unlike = {one: said for one, said in table.items() if sorted(FIELD.findall(one)) != sorted(FIELD.findall(said))}
        assert unlike == {}, name


def test_no_translation_of_a_finished_sentence_is_stale() -> None:
    """Every word of a sentence's English stands in the code that composes it."""
    root = Path(__file__).parents[2]
    code = " ".join(
        file.read_text() for part in ("evaluator", "streams", "models") for file in sorted((root / part).rglob("*.py"))
    )
    words = {word.removesuffix("s") for word in re.findall(r"[A-Za-z']+", code)}
    stale = {
        one for one in read("evaluator", "sentences.toml")["sentences"]
        if {word.removesuffix("s") for word in re.findall(r"[A-Za-z']+", FIELD.sub(" ", one))} - words
    }  # fmt: skip
    assert stale == set()


@given(st.text(max_size=80))
def test_any_text_is_answered_and_what_is_not_known_stays(text: str) -> None:
    said = live().chinese(text)
    assert live().say(text, "zh") == (text if said is None else said)
    assert live().say(text, "en") == text


@given(st.text(max_size=60))
def test_any_header_names_a_language_or_none(header: str) -> None:
    assert preferred(header) in {None, "en", "zh"}


def test_numbers_and_longest_patterns_win() -> None:
    some = Translations({"{n} s": "{n} 秒", "{what} ends": "{what}结束", "{what} never ends": "{what}永不结束"})
    assert some.chinese("4 s") == "4 秒" and some.chinese("it s") is None
    assert some.chinese("it never ends") == "it永不结束"


def test_a_text_made_to_be_slow_is_answered_soon() -> None:
    parts = [FIELD.split(one) for one in read("evaluator", "sentences.toml")["sentences"] if FIELD.search(one)]
    began = time.perf_counter()
    for literals in parts:
        for middle in (" ", "1", "".join(literals), " ".join(literals[1:] * 2)):
            live().chinese((middle * 10_000)[:10_000])
            live().chinese((middle * 500)[:499] + "!")
    for mark in (".", ". ", "; ", ": ", ", ", "? A", "a. ", "rolled back: "):
        live().chinese(("a" + mark * 5_000)[:10_000])
    assert live().chinese("3 alerts firing. " * 500) and live().chinese("3 alerts firing. " * 700) is None
    assert time.perf_counter() - began < 60
