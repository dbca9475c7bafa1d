"""A canary ends on real servers: its result is kept once, whenever the trainer is killed, and the report shows it."""

import json
import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluator.gate import report
from evaluator.gate.thresholds import Figure
from liveshelf.cli.app import app
from models.measures.names import LOG_LOSS
from models.store import Data, Manifest, ModelStore, manifest
from models.store.experiments import FinishedExperiment
from models.store.manifest import path_of
from models.store.slots import CHALLENGER, CHAMPION
from streams.config import KafkaConfig, TopicsConfig
from streams.serving.announcement import announce_now
from tests.forked import Forked
from tests.integration.test_challenge import BEGUN, SHARE, VERSION, VIEWS, seen, send
from tests.integration.test_challenge import shop as challenged
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

shop = challenged
"""With an evaluator's settings for quick windows."""

FIRST = "20261125-080000-head-1a2b3c4d"


@pytest.fixture
def store(shop: Shop, kafka: KafkaConfig, topics_config: TopicsConfig) -> Iterator[ModelStore]:
    """A champion, and a challenger that passed the gate against it and has a share of the shoppers since two hours."""
    for what in ("EXAMPLES", "LEARNING"):
        shop.env[f"LIVESHELF_{what}__FOLDER"] = str(shop.folder / what.lower())
    shop.env["LIVESHELF_ROLLOUT__LEAST_IMPRESSIONS"] = "500"
    shop.env["LIVESHELF_ROLLOUT__READY_S"] = "86400"  # there is no worker
    store = ModelStore(shop.env["LIVESHELF_MODEL__STORE"], clock=lambda: BEGUN + timedelta(seconds=3))
    for version, parent in ((FIRST, None), (VERSION, FIRST)):
        made = Manifest(
            method="head",
            architecture="late_interaction",
            encoder="packaged",
            encoder_fingerprint="0a1b2c3d",
            data=Data("events", 10),
            parent=parent,
            format=1,
            id=version,
            created_at=BEGUN,
            libraries={},
            files={},
        )
        store.storage.write(path_of(version), manifest.encode(made))
    loss = Figure(measure=LOG_LOSS, difference=-0.02, difference_low=-0.03, difference_high=-0.01)
    verdict = report.conclude([], [loss], shoppers=300, queries=300, contexts=300, config={})
    store.storage.write(f"versions/{VERSION}/gate.json", report.encode(verdict))
    store.slots.promote(FIRST, "the first")
    slot = store.slots.promote(VERSION, "passed the gate", CHALLENGER, share=SHARE)
    announce_now(kafka, topics_config, CHALLENGER, slot)
    shop.start("evaluator-1", "evaluator")
    send(shop, range(VIEWS))
    seen(shop, range(VIEWS))
    yield store


def kept(store: ModelStore) -> list[FinishedExperiment]:
    found, problems = store.experiments.get()
    assert problems == []
    return found


def holds(store: ModelStore, name: str) -> str | None:
    current = store.slots.read(name).current
    return current.version if current else None


def told(shop: Shop, *arguments: str) -> str:
    """What a command says that ends well."""
    done = CliRunner(env=shop.env | {"COLUMNS": "250"}).invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_a_canarys_result_is_in_the_store_and_in_the_report(shop: Shop, store: ModelStore, tmp_path: Path) -> None:
    shop.start("trainer-1", "trainer")
    until(lambda: holds(store, CHALLENGER) is None, shop.log("trainer-1").read_text)
    [record] = kept(store)
    assert (record.champion, record.challenger, record.ended) == (FIRST, VERSION, "promoted")
    assert holds(store, CHAMPION) == VERSION and record.share == SHARE
    online = record.online
    assert online is not None and online.champion.impressions + online.challenger.impressions > 0.9 * VIEWS
    assert 0.2 < online.low < online.difference < online.high < 0.4 and online.log10_evalue > 1.3
    assert online.error < 0.2, "with a dispersion"
    assert [(one.measure, one.source, one.difference) for one in record.offline] == [("log_loss", "gate", -0.02)]
    said = told(shop, "models", "history")
    assert VERSION in said and "promoted" in said and "is from too few to say: 10 are needed" in said
    rows = [{"query": f"q{n // 5}", "item_id": f"{n}", "title": f"item {n}", "relevance": n % 3} for n in range(100)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out, url = str(tmp_path / "run"), shop.env["LIVESHELF_MODEL__STORE"]
    options = ("--data", str(tmp_path / "data.jsonl"), "--dimension", "effect", "--draws", "100")
    told(shop, "evaluate", "random", *options, "--out", out, "--store", url)
    for page, words in (("report.html", "too few to say"), ("report.zh.html", "太少")):
        text = (tmp_path / "run" / page).read_text("utf-8")
        section = text[text.index('id="prediction"') :]
        assert words in section and VERSION in section and re.search(r"log_loss|对数损失", section)


@pytest.mark.parametrize("step", ["record", "slots"])
def test_a_trainer_killed_at_its_decision_leaves_one_record_in_the_end(
    shop: Shop, store: ModelStore, step: str
) -> None:
    env = shop.env | {"LIVESHELF_LEARNING__INSTANCE": "trainer-1", "DIES_AT": step}
    dying = Forked("trainer", log=shop.log("dying"), env=env, program="tests.dying_trainer")
    until(lambda: not dying.running, shop.log("dying").read_text)
    assert dying.exit_code == -signal.SIGKILL, shop.log("dying").read_text()
    before = kept(store)
    assert len(before) == (0 if step == "record" else 1)
    assert holds(store, CHALLENGER) == VERSION and holds(store, CHAMPION) == FIRST
    shop.start("trainer-1", "trainer")
    until(lambda: holds(store, CHALLENGER) is None, shop.log("trainer-1").read_text)
    [record] = kept(store)
    assert record.ended == "promoted" and holds(store, CHAMPION) == VERSION
    assert before in ([], [record]), "the first record stays"
