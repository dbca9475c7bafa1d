"""Whole runs of every method: they train what they should, are saved, and serve what they trained."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.cross_encoder import CrossEncoderScorer
from models.encoder import Encoder
from models.factory import build
from models.memory import ItemMemory
from models.scorer import ScoreRequest
from models.training.batches import contexts
from models.training.examples import Example
from models.training.methods import RECIPES, Method
from models.training.run import Run, TrainConfig, Trained, fresh_bert, probabilities
from models.training.trainer import last_checkpoint
from models.weights import PACKAGED


def config(folder: Path, method: Method = "head", **more: Any) -> TrainConfig:
    given = {"epochs": 1, "contexts": 8, "report_to": (), "progress": False, "evaluations": 1, "bf16": False} | more
    return TrainConfig(method=method, folder=folder / "run", **given)


def train(encoder: Encoder, folder: Path, examples: Sequence[Example], **more: Any) -> Trained:
    return Run(encoder, config(folder, **more)).train(examples, examples[:30])


def weights(trained: Trained) -> Mapping[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in trained.tower.state_dict().items()}


def served(folder: Path, encoder: Encoder, data: Sequence[Example]) -> np.ndarray:
    """What a worker would answer with the saved parts, float32 [n, 4], in the order of contexts."""

    def part(name: str) -> Path | None:
        return folder / name if (folder / name).is_dir() else None

    own = part("encoder")
    loaded = Encoder(str(own) if own else PACKAGED, precision="float32", adapter=part("adapter"))
    texts = sorted({text for one in data for text in (one.item, *one.history)})
    memory = ItemMemory(loaded.dim, loaded.token_dim, loaded.max_item_tokens, capacity=256)
    memory.put_many(range(len(texts)), loaded.encode_items(texts))
    cross = part("cross_encoder")
    scorer = build(
        "cross_encoder" if cross else "late_interaction",
        loaded,
        memory,
        texts.__getitem__,
        head=part("head"),
        cross_encoder=cross,
        precision="float32",
    )
    rows = []
    for one in contexts(data, 16):
        first = one.examples[0]
        [query] = loaded.encode_queries([first.query])
        history = memory.pooled(np.array([texts.index(text) for text in first.history], np.int64))
        slots = np.array([texts.index(example.item) for example in one.examples])
        request = ScoreRequest(slots, query if first.query else None, first.query, history)
        rows += list(scorer.score([request]))
    return np.concatenate(rows)


@pytest.mark.parametrize("method", RECIPES)
def test_what_is_trained_is_what_is_served(
    method: Method, encoder: Encoder, examples: Sequence[Example], tmp_path: Path
) -> None:
    before = fresh_bert(PACKAGED).state_dict()
    trained = train(encoder, tmp_path, examples, method=method)
    after = weights(trained)
    unchanged = [
        name
        for name, tensor in before.items()
        for found in [n for n in after if n.endswith(name) or n.endswith(name.replace(".weight", ".base_layer.weight"))]
        if torch.equal(tensor, after[found])
    ]
    if method in {"full", "cross_encoder"}:
        assert not [name for name in unchanged if "query.weight" in name]
    elif method != "head":
        assert len([name for name in unchanged if name.endswith("query.weight")]) == 6, "the encoder itself is frozen"
    trained.save(tmp_path / "saved")
    files = [path for path in (tmp_path / "saved").rglob("*") if path.suffix in {".bin", ".pt"}]
    assert not files
    dev = examples[:30]
    np.testing.assert_allclose(
        served(tmp_path / "saved", encoder, dev), probabilities(trained.logits), atol=0.03 if method == "full" else 3e-3
    )
    assert trained.metrics["log_loss"] < 1.4 and trained.metrics["spearman"] > 0.3


def test_equal_seeds_give_equal_weights(encoder: Encoder, examples: Sequence[Example], tmp_path: Path) -> None:
    one, same, other = (
        weights(train(encoder, tmp_path / str(number), examples, seed=seed)) for number, seed in enumerate((1, 1, 2))
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.query_map.weight"], other["head.query_map.weight"])


def test_batches_that_add_up_are_one_large_batch(
    encoder: Encoder, examples: Sequence[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.late_interaction.DROPOUT", 0.0)
    even = [one for one in examples if one.query]
    large = weights(train(encoder, tmp_path / "large", even, contexts=8))
    small = weights(train(encoder, tmp_path / "small", even, contexts=4, accumulation=2))
    for name in large:
        torch.testing.assert_close(small[name], large[name], atol=1e-4, rtol=1e-3, msg=name)


def test_patience_goes_back_to_the_best(encoder: Encoder, examples: Sequence[Example], tmp_path: Path) -> None:
    # So fast a rate that it soon gets worse.
    trained = train(encoder, tmp_path, examples, epochs=30, head_rate=0.3, patience=1, evaluations=30)
    state = list((tmp_path / "run").glob("checkpoint-*"))
    assert 1 <= len(state) <= 3
    assert trained.metrics["uncalibrated_log_loss"] < 1.6


def test_a_starting_pull_keeps_weights_near_where_they_were(
    encoder: Encoder, examples: Sequence[Example], tmp_path: Path
) -> None:
    start = Run(encoder, config(tmp_path)).head.query_map.weight.detach().clone()

    def moved(l2_sp: float) -> float:
        found = weights(train(encoder, tmp_path / str(l2_sp), examples, epochs=4, l2_sp=l2_sp))
        return float((found["head.query_map.weight"] - start).norm())

    assert moved(100.0) < 0.5 * moved(0.0)


SCRIPT = """
import sys
from pathlib import Path
import msgspec, torch
from models.encoder import Encoder
from models.training.examples import Example
from models.training.run import Run, TrainConfig
folder, epochs = Path(sys.argv[1]), int(sys.argv[2])
examples = msgspec.json.decode((folder / "examples.json").read_bytes(), type=list[Example])
torch.set_num_threads(1)
config = TrainConfig(folder=folder / "run", epochs=epochs, contexts=8, report_to=(), progress=False, evaluations=40,
                     resume="--resume" in sys.argv)
Run(Encoder(precision="float32"), config).train(examples, examples[:30]).save(folder / "saved")
"""


def script(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-c", SCRIPT, str(folder), "40", *more]


@pytest.mark.timeout(240)
def test_a_killed_run_goes_on_to_the_same_weights(examples: Sequence[Example], tmp_path: Path) -> None:
    import msgspec

    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "examples.json").write_bytes(msgspec.json.encode(list(examples)))
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(script(tmp_path / "killed"), env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while last_checkpoint(tmp_path / "killed" / "run") is None and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = last_checkpoint(tmp_path / "killed" / "run")
    assert found is not None and not (tmp_path / "killed" / "saved").exists()
    (tmp_path / "killed" / "run" / "checkpoint-99999").mkdir()  # as if killed while it was written
    subprocess.run(script(tmp_path / "killed", "--resume"), env=env, check=True, stderr=subprocess.DEVNULL)
    subprocess.run(script(tmp_path / "whole"), env=env, check=True, stderr=subprocess.DEVNULL)
    resumed, whole = (
        load_file(tmp_path / name / "saved" / "head" / "model.safetensors") for name in ("killed", "whole")
    )
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, atol=1e-5, rtol=1e-4, msg=name)


def test_a_cross_encoder_answers_as_its_tower_whatever_the_order_of_lengths(
    encoder: Encoder, examples: Sequence[Example], tmp_path: Path
) -> None:
    longer = [Example(query="red hose", item=f"hose {'very ' * n}long", grade=1.0) for n in range(40)]
    run = Run(encoder, config(tmp_path, "cross_encoder"))
    trained = run.predict([*examples[:9], *longer])
    texts = [one.item for one in longer]
    trained.save(tmp_path / "saved")
    scorer = CrossEncoderScorer(texts.__getitem__, str(tmp_path / "saved" / "cross_encoder"), precision="float32")
    [rows] = scorer.score([ScoreRequest(np.arange(40), query_text="red hose")])
    logits, _ = run.logits(trained.tower, longer)
    np.testing.assert_allclose(rows, probabilities(logits), atol=1e-3)
