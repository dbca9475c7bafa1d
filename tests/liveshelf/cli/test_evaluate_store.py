"""``liveshelf evaluate`` on versions of a store: it keeps its figures there, and shows what past canaries tell."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from liveshelf.cli.app import app
from models.encoder import Encoder
from models.late_interaction import HeadConfig, LateInteraction
from models.store import Data, Description, ModelStore
from models.weights import PACKAGED, fingerprint, resolve
from tests.evaluator.offline.test_agreement import finished

BEGUN = datetime(2026, 11, 1, tzinfo=UTC)
WORDS = ("red", "blue", "green", "hose", "lamp", "chair")


@pytest.fixture
def versions(tmp_path: Path) -> Iterator[tuple[ModelStore, list[str]]]:
    """A store with two heads of unlike constants, the first one champion, and data to rank."""
    days = iter(range(10))
    store = ModelStore(str(tmp_path / "models"), clock=lambda: BEGUN + timedelta(next(days)))
    encoder, ids = Encoder(), []
    for share in (0.9, 0.1):
        folder = tmp_path / f"head-{share}"
        config = HeadConfig(dim=encoder.dim, token_dim=encoder.token_dim, maxsim=share)
        LateInteraction(config).save(folder / "head")
        about = Description(
            method="head",
            architecture="late_interaction",
            encoder=PACKAGED,
            encoder_fingerprint=fingerprint(resolve(PACKAGED)),
            data=Data("events", 10),
        )
        ids.append(store.put(folder, about).id)
    store.slots.promote(ids[0], "the first")
    rows = [
        {
            "query": f"{one} {two}",
            "item_id": f"{one} {other}",
            "title": f"{one} {other}",
            "relevance": 1 + (other == two),
        }
        for one in WORDS[:3]
        for two in WORDS[3:]
        for other in WORDS[3:]
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    yield store, ids


def evaluate(folder: Path, out: str, *contenders: str) -> str:
    """The command's output, and its end is good."""
    data = ("--data", str(folder / "data.jsonl"), "--out", str(folder / out))
    options = (*data, "--dimension", "effect", "--draws", "100")
    done = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["evaluate", *contenders, *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_figures_of_versions_are_kept_with_their_store(tmp_path: Path, versions: tuple[ModelStore, list[str]]) -> None:
    store, ids = versions
    record = finished(3, 0.01, -0.01, 1_200)
    store.experiments.record(msgspec.structs.replace(record, champion=ids[0], challenger=ids[1], offline=()))
    names = [f"version:{store.storage.root}#{name}" for name in ("champion", ids[1])]
    evaluate(tmp_path, "run", *names)
    [kept], problems = store.experiments.evaluations()
    assert problems == [] and kept.data == "data.jsonl"
    ndcg = next(one for one in kept.measures if one.measure == "ndcg@10")
    assert sorted(ndcg.values) == sorted(ids), "a slot is its version"
    [joined], _ = store.experiments.get()
    assert {one.measure for one in joined.offline} >= {"ndcg@10", "mrr", "log_loss"}
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    section = page[page.index('id="prediction"') :]
    assert ids[1] in section and "too few to say" in section and "evaluation, canaries" in section


def test_a_store_that_cannot_be_written_is_said_and_the_report_is_made(
    tmp_path: Path, versions: tuple[ModelStore, list[str]]
) -> None:
    store, ids = versions
    (tmp_path / "models" / "evaluations").write_text("a file where the folder would be")
    names = [f"version:{store.storage.root}#{name}" for name in ids]
    said = evaluate(tmp_path, "run", *names)
    assert "The figures of this run are not kept in" in said
    assert 'id="prediction"' in (tmp_path / "run" / "report.html").read_text("utf-8")
