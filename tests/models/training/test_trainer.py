"""Runs that are cut off, that go back to their best, and whose batches add up."""

import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from models.encoder import Encoder
from models.training.batches import Collator, FrozenItems, FrozenQueries, contexts
from models.training.config import TrainConfig
from models.training.examples import Example
from models.training.methods import SHARES
from models.training.run import Prepared, Run, Trained
from models.training.trainer import COMPLETE, ScorerTrainer, last_checkpoint

Configure = Callable[..., TrainConfig]


class CutOffError(Exception):
    """Where a process would have been killed."""


def weights(trained: Trained) -> Mapping[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trained.tower.state_dict().items()}


def assert_same(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], atol: float = 0) -> None:
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=atol, rtol=0, msg=name)


def train(encoder: Encoder, config: TrainConfig, examples: Sequence[Example]) -> Trained:
    return Run(encoder, config).train(examples, examples[:30])


def train_until(
    step: int, monkeypatch: pytest.MonkeyPatch, encoder: Encoder, config: TrainConfig, examples: Sequence[Example]
) -> None:
    """Train, and leave off where this step would begin."""
    whole = ScorerTrainer.training_step

    def part(self: ScorerTrainer, *arguments: Any, **more: Any) -> Any:
        if self.state.global_step == step:
            raise CutOffError
        return whole(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(ScorerTrainer, "training_step", part)
        with pytest.raises(CutOffError):
            train(encoder, config, examples)


def checkpoint(folder: Path, name: str, state: str | None = "{}") -> None:
    (folder / name).mkdir()
    if state is not None:
        (folder / name / COMPLETE).write_text(state)


def test_the_last_checkpoint_is_the_newest_whole_one(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for name in ("checkpoint-9", "checkpoint-100", "checkpoint-best"):
        checkpoint(tmp_path, name)
    checkpoint(tmp_path, "checkpoint-200", state=None)
    checkpoint(tmp_path, "checkpoint-300", state='{"global_step": 30')
    checkpoint(tmp_path, "checkpoint-400", state="")
    (tmp_path / "checkpoint-500").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"


@pytest.mark.parametrize(
    ("method", "cuts", "more"),
    [
        ("head", (7,), {"l2_sp": 10.0}),
        ("prefix", (5,), {}),
        ("adalora", (5, 11), {}),  # while ranks are moved, and where they are settled
    ],
)
def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(
    method: str,
    cuts: Sequence[int],
    more: Mapping[str, Any],
    encoder: Encoder,
    examples: Sequence[Example],
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = examples[:48]
    given = {"method": method, "epochs": 3, "contexts": 4, "evaluations": 6, **more}
    whole = weights(train(encoder, configure("whole", **given), some))
    for step in cuts:
        config = configure(f"cut {step}", resume=True, **given)
        train_until(step, monkeypatch, encoder, config, some)
        found = last_checkpoint(config.folder)
        assert found is not None and found.name == f"checkpoint-{step - 1}"
        assert_same(weights(train(encoder, config, some)), whole, atol=1e-6)


def test_a_finished_run_has_nothing_left_to_do(
    encoder: Encoder, examples: Sequence[Example], configure: Configure
) -> None:
    whole = weights(train(encoder, configure(), examples))
    assert_same(weights(train(encoder, configure(resume=True), examples)), whole, atol=1e-6)


def test_a_run_that_starts_anew_has_no_checkpoints_of_an_earlier_one(
    encoder: Encoder, examples: Sequence[Example], configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    folder = configure().folder
    folder.mkdir()
    checkpoint(folder, "checkpoint-1000")
    checkpoint(folder, "checkpoint-2000", state=None)
    (folder / "checkpoint-notes").mkdir()
    with caplog.at_level(logging.WARNING):
        train(encoder, configure(), examples)
    assert "checkpoint-1000, of an earlier run" in caplog.text
    assert {path.name for path in folder.iterdir()} == {"checkpoint-5", "checkpoint-notes"}


def test_another_methods_checkpoint_is_refused(
    encoder: Encoder, examples: Sequence[Example], configure: Configure
) -> None:
    train(encoder, configure(), examples)
    with pytest.raises(ValueError, match="the checkpoint is of another model"):
        train(encoder, configure(method="adapter", resume=True, epochs=2), examples)


@pytest.mark.parametrize("method", ["head", "prefix", "adalora"])
def test_patience_goes_back_to_the_best(
    method: str, encoder: Encoder, examples: Sequence[Example], configure: Configure
) -> None:
    """So fast a rate that it gets worse after a few evaluations; what is left is the best evaluation's weights."""
    given = {"epochs": 4, "rate": 0.05, "head_rate": 0.1, "patience": 2, "evaluations": 20}
    trained = train(encoder, configure(method=method, **given), examples)
    found = last_checkpoint(configure().folder)
    assert found is not None
    state = json.loads((found / COMPLETE).read_text())
    best = Path(state["best_model_checkpoint"])
    losses = {row["step"]: row["eval_loss"] for row in state["log_history"] if "eval_loss" in row}
    assert best != found and state["best_global_step"] == min(losses, key=losses.__getitem__)
    assert len(losses) == list(losses).index(state["best_global_step"]) + 1 + 2, "it stops after two without gain"
    kept = load_file(best / "model.safetensors")
    after = weights(trained)
    calibrated = {"head.scale", "head.bias"}
    for name in set(kept) - calibrated:
        assert torch.equal(after[name], kept[name]), name


@pytest.mark.parametrize("accumulation", [2, 3])
def test_batches_that_add_up_are_one_large_batch(
    accumulation: int,
    encoder: Encoder,
    examples: Sequence[Example],
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever their examples weigh and however many they are; the last step has fewer batches."""
    monkeypatch.setattr("models.late_interaction.DROPOUT", 0.0)
    chance = random.Random(0)
    uneven = [msgspec.structs.replace(one, weight=chance.uniform(0.2, 3)) for one in examples if chance.random() < 0.7]
    large = weights(train(encoder, configure("large", contexts=4 * accumulation), uneven))
    small = weights(train(encoder, configure("small", contexts=4, accumulation=accumulation), uneven))
    assert_same(small, large, atol=1e-5)


def trainer(encoder: Encoder, config: TrainConfig, examples: Sequence[Example]) -> ScorerTrainer:
    run = Run(encoder, config)
    texts = {text for one in examples for text in (one.item, *one.history)}
    collator = Collator(FrozenQueries(encoder, (one.query for one in examples)), FrozenItems(encoder, texts))
    return run.trainer(Prepared(contexts(examples, 16), [], collator, 8, 4), model=run.tower(4))


def test_every_part_has_its_rate_and_a_search_moves_them_together(
    encoder: Encoder, examples: Sequence[Example], configure: Configure
) -> None:
    for factor in (1.0, 3.0):
        made = trainer(encoder, configure(head_rate=0.01), examples)
        made.args.learning_rate *= factor  # what a search of Trainer's sets
        found: dict[str, float] = {}
        for group in made.create_optimizer().param_groups:
            names = [
                name for name, one in made._tower.named_parameters() if any(one is other for other in group["params"])
            ]
            found |= dict.fromkeys(names, group["lr"])
        assert set(found) == {name for name, _ in made._tower.named_parameters()}
        for name, rate in found.items():
            share = SHARES.get(name.rpartition(".")[0], 1.0)
            assert rate == pytest.approx(share * 0.01 * factor), name


def test_the_pull_is_half_the_squared_distance(
    encoder: Encoder, examples: Sequence[Example], configure: Configure
) -> None:
    made = trainer(encoder, configure(l2_sp=3.0), examples)
    batch = made.data_collator(contexts(examples, 16)[:4])
    tower = made._tower.train()
    assert made._distance().item() == 0
    moved = dict(tower.named_parameters())["head.query_weight.weight"]
    with torch.no_grad():
        moved += 0.5
        torch.manual_seed(0)
        alone = tower(**batch)["loss"].item()
        torch.manual_seed(0)
        pulled = made.compute_loss(tower, dict(batch)).item()
        assert pulled - alone == pytest.approx(0.5 * 3.0 * 0.25 * moved.numel(), rel=1e-3)
        tower.eval()
        assert made.compute_loss(tower, dict(batch)).item() == tower(**batch)["loss"].item()
