"""The trainer as a process on real servers: examples in, a judged version out, through kills of it and of its child."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluator.attribution.example import LabelledExample
from evaluator.attribution.example import encoder as labelled
from evaluator.gate.report import Verdict, decode
from evaluator.retraining.store.archive import Archive
from models.encoder import Encoder
from models.store import ModelStore
from models.store.slots import CHALLENGER
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, TopicsConfig
from streams.telemetry.meter import Snapshot
from tests import lessons
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

VIEWS = 600
END = 1 << 62


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(kafka, redis_db, topics_config, tmp_path)
    shop.env |= {
        "LIVESHELF_MODEL__STORE": str(tmp_path / "models"),
        "LIVESHELF_EXAMPLES__FOLDER": str(tmp_path / "examples"),
        "LIVESHELF_EXAMPLES__FLUSH_S": "1",
        "LIVESHELF_LEARNING__FOLDER": str(tmp_path / "learning"),
        "LIVESHELF_TRIGGERS__ENOUGH_EXAMPLES": str(6 * VIEWS),
        "LIVESHELF_TRIGGERS__LEAST_EXAMPLES": str(6 * VIEWS),
        "LIVESHELF_TRIGGERS__LEASE_S": "60",
        "LIVESHELF_GATE__LEAST_SHOPPERS": "50",
        "LIVESHELF_GATE__LEAST_QUERIES": "50",
        "LIVESHELF_GATE__DRAWS": "200",
        "LIVESHELF_LEARNING__NICENESS": "0",
        # A machine that tests share tells nothing of times.
        "LIVESHELF_GATE__LATENCY_P99": "100",
        "LIVESHELF_GATE__LATENCY_CALLS": "10",
        "LIVESHELF_GATE__ROBUSTNESS_CONTEXTS": "50",
        # Beside a model that knows nothing, one that does changes everything.
        "LIVESHELF_GATE__LATENCY_MEDIAN": "100",
    }
    with shop.open() as shop:
        yield shop


def send(shop: Shop, some: list[LabelledExample]) -> None:
    shop.produce(shop.topics.examples, [(one.id, labelled.encode(one)) for one in some])


def filled(shop: Shop) -> list[LabelledExample]:
    """A shop with items, and examples of a taste."""
    items = lessons.items(208)
    lessons.put(shop, items, Encoder())
    made = lessons.views(items, VIEWS, wall_ms() - 2 * VIEWS * 1_000)
    send(shop, made)
    return made


def last(shop: Shop) -> Snapshot | None:
    """The trainer's last snapshot."""
    return next(reversed(reporting.snapshots(shop.config, wall_ms() - 5_000, "trainer")), None)


def said(shop: Shop, label: str, value: str) -> Snapshot:
    """Wait for the trainer to report something."""

    def found() -> Snapshot | None:
        snapshot = last(shop)
        if snapshot is None:
            return None
        assert snapshot.labels["verdict"] in ("", "passed"), snapshot.labels["verdict_sentence"]
        return snapshot if snapshot.labels[label] == value else None

    return until(found, lambda: f"{last(shop)} {shop.log('trainer-1').read_text()[-3000:]}", every_s=0.2)


def on_disk(tmp_path: Path) -> list[LabelledExample]:
    return list(Archive(tmp_path / "examples").read(0, END))


def shadowed(shop: Shop, tmp_path: Path) -> Verdict:
    """What the gate said of the one version there is, which is in shadow."""
    said(shop, "stage", "shadow")
    store = ModelStore(str(tmp_path / "models"))
    [version] = store.ids()
    slot = store.slots.read(CHALLENGER).current
    assert slot is not None
    assert (slot.version, slot.share) == (version, 0.0)
    folder = store.fetch(version)
    trigger = json.loads((folder / "trigger.json").read_bytes())
    assert trigger["reason"] == "examples"
    assert trigger["slices"]["train"] + trigger["slices"]["calibrate"] + trigger["slices"]["gate"] == 6 * VIEWS
    manifest = store.manifest(version)
    assert (manifest.data.source, manifest.parent) == ("liveshelf.examples", None)
    return decode((folder / "gate.json").read_bytes())


def test_enough_examples_make_a_version_that_passes_the_gate_and_shadows(shop: Shop, tmp_path: Path) -> None:
    made = filled(shop)
    shop.start("trainer-1", "trainer")
    verdict = shadowed(shop, tmp_path)
    assert verdict.decision == "passed", verdict.sentence
    assert sorted(one.id for one in on_disk(tmp_path)) == sorted(one.id for one in made), "each once"
    snapshot = said(shop, "stage", "shadow")
    assert snapshot.labels["verdict"] == "passed"
    assert snapshot.gauges["runs_today"] == 1
    shop.stop("trainer-1")


def test_kills_of_the_child_and_of_the_trainer_leave_one_run(shop: Shop, tmp_path: Path) -> None:
    shop.env["LIVESHELF_LEARNING__EPOCHS"] = "30"  # time to be killed in
    made = filled(shop)
    send(shop, made[: len(made) // 3])  # delivered twice
    shop.start("trainer-1", "trainer")
    said(shop, "stage", "training")
    trainer = shop.workers["trainer-1"].pid
    [child] = until(lambda: children(trainer))
    until(lambda: list((tmp_path / "learning" / "runs").glob("*/training/*/trainer_state.json")))
    os.kill(child, signal.SIGKILL)
    [again] = until(lambda: [one for one in children(trainer) if one != child])
    shop.kill("trainer-1")
    until(lambda: not Path(f"/proc/{again}").exists(), lambda: "the child outlives the trainer")
    shop.start("trainer-1", "trainer")
    assert shadowed(shop, tmp_path).decision == "passed"
    assert sorted(one.id for one in on_disk(tmp_path)) == sorted(one.id for one in made), "each once"
    assert said(shop, "stage", "shadow").gauges["runs_today"] == 1
    log = shop.log("trainer-1").read_text()
    assert "going on from" in log and "goes on" in log
    shop.stop("trainer-1")


def children(pid: int) -> list[int]:
    """Of the trainer: the job, which is its only child."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
