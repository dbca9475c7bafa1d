"""Whole runs of every method: they train what they should, are saved, and serve what they trained."""

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from models.cross_encoder import CrossEncoderScorer
from models.encoder import Encoder
from models.intents import INTENTS
from models.late_interaction import LateInteraction
from models.scorer import ScoreRequest
from models.training.config import TrainConfig
from models.training.examples import Example
from models.training.figures import figures, probabilities
from models.training.method import Method
from models.training.methods import RECIPES
from models.training.run import Run, Trained
from models.training.towers import classifier, fresh_bert
from models.training.trainer import COMPLETE, last_checkpoint
from models.weights import PACKAGED
from tests.forked import Forked

Configure = Callable[..., TrainConfig]
Serve = Callable[[Path, Sequence[Example]], np.ndarray]

TRAINED = {
    "head": r"head\.",
    "lora": r"head\.|bert\..*\.lora_[AB]\.",
    "adalora": r"head\.|bert\..*\.lora_[ABE]\.",
    "prefix": r"head\.|bert\.prompt_encoder\.",
    "adapter": r"head\.|bert\..*\.ia3_l\.",
    "full": r"head\.|bert\.",
    "query_encoder": r"head\.",
    "cross_encoder": r"bert\.",
}
"""How the parameters' names begin that a method trains, all others staying as they are."""

FAST = {"rate": 0.02, "head_rate": 0.01}
"""Rates at which an adapter's few steps are seen in what it serves."""

FLOAT, ROUNDED = 1e-4, 0.03
"""How far the log of a served probability may be from the trained one: by float32's rounding where items are trained
against as they are stored, by int8's where the items' encoder is trained too."""


class Watched(Run):
    """A run that remembers the parameters with which it began."""

    began: dict[str, torch.Tensor]

    def tower(self, steps: int = 1) -> nn.Module:
        tower = super().tower(steps)
        self.began = {name: weights.detach().clone() for name, weights in tower.named_parameters()}
        return tower


def train(encoder: Encoder, config: TrainConfig, examples: Sequence[Example]) -> Trained:
    return Run(encoder, config).train(examples, examples[:30])


def weights(trained: Trained) -> Mapping[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in trained.tower.state_dict().items()}


def gap(served: np.ndarray, trained: Trained) -> float:
    """The largest difference of two logs of probabilities."""
    return float(np.abs(np.log(served) - np.log(probabilities(trained.logits))).max())


def of_the_encoder(parameters: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """An encoder's own parameters by their own names, however an adapter has wrapped them."""
    for name, tensor in parameters.items():
        if not re.search(r"^head\.|lora_|ia3_|prompt_encoder|ranknum", name):
            yield re.sub(r"^bert\.(base_model\.)?(model\.)?|base_layer\.", "", name), tensor


@pytest.mark.parametrize("method", RECIPES)
def test_a_method_trains_what_it_should_and_serves_what_it_trained(
    method: Method,
    encoder: Encoder,
    pair_encoder: Encoder,
    examples: Sequence[Example],
    configure: Configure,
    serve: Serve,
    tmp_path: Path,
) -> None:
    pairs, own = method == "cross_encoder", method in {"full", "cross_encoder"}
    rates = {} if own else FAST
    run = Watched(pair_encoder if pairs else encoder, configure(method=method, **rates))
    trained = run.train(examples, examples[:30])
    after = dict(trained.tower.named_parameters())
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, run.began[name])}
    wanted = {name for name in after if re.match(TRAINED[method], name)}
    assert changed == wanted, changed ^ wanted
    if not own and method not in {"head", "query_encoder"}:
        packaged, kept = dict(fresh_bert(PACKAGED).named_parameters()), dict(of_the_encoder(after))
        assert set(kept) >= set(packaged)
        for name, tensor in packaged.items():
            assert kept[name].detach().numpy().tobytes() == tensor.detach().numpy().tobytes(), name

    saved = tmp_path / "saved"
    trained.save(saved)
    encoded_by = {"head": "head", "full": "encoder", "query_encoder": "query_encoder"}
    parts = {"head", encoded_by.get(method, "adapter")}
    assert {path.name for path in saved.iterdir()} == ({"cross_encoder"} if pairs else parts)
    assert not [path for path in saved.rglob("*") if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]
    answer = serve(saved, examples[:30])
    assert gap(answer, trained) < (ROUNDED if method == "full" else FLOAT)
    for part in filter(Path.exists, (saved / "adapter", saved / "query_encoder")):
        shutil.rmtree(part)  # it counts: without it the answer is another
        assert gap(serve(saved, examples[:30]), trained) > 10 * FLOAT
    assert trained.metrics["log_loss"] < 1.4  # of four intents at random: 1.39


def test_what_was_trained_in_bfloat16_is_served_all_the_same(
    encoder: Encoder, examples: Sequence[Example], configure: Configure, serve: Serve, tmp_path: Path
) -> None:
    trained = train(encoder, configure(method="prefix", bf16=True), examples[:48])
    assert {tensor.dtype for tensor in trained.tower.parameters()} == {torch.float32}
    trained.save(tmp_path / "saved")
    assert gap(serve(tmp_path / "saved", examples[:30]), trained) < 0.06  # bfloat16 has three digits


def test_adalora_that_went_back_to_its_best_serves_the_best(
    encoder: Encoder, examples: Sequence[Example], configure: Configure, serve: Serve, tmp_path: Path
) -> None:
    """The ranks it saves are those of the evaluation that it went back to, not of the last."""
    config = configure(method="adalora", epochs=6, rate=0.05, head_rate=0.03, patience=4, evaluations=30)
    trained = train(encoder, config, examples)
    trained.save(tmp_path / "saved")
    assert gap(serve(tmp_path / "saved", examples[:30]), trained) < FLOAT


def test_a_head_is_trained_on_queries_read_through_an_adapter(
    encoder: Encoder, examples: Sequence[Example], configure: Configure, serve: Serve, tmp_path: Path
) -> None:
    """As `liveshelf train --parent` does it: the adapter stays as it is, the head goes on."""
    train(encoder, configure(method="lora", **FAST), examples).save(tmp_path / "first")
    adapted = Encoder(precision="float32", adapter=tmp_path / "first" / "adapter")
    head = LateInteraction.load(tmp_path / "first" / "head")
    trained = Run(adapted, configure("second"), head=head).train(examples, examples[:30])
    trained.save(tmp_path / "saved")
    assert gap(serve(tmp_path / "saved", examples[:30]), trained) < FLOAT


def test_before_training_the_scorer_says_what_is_served(
    encoder: Encoder, examples: Sequence[Example], configure: Configure, serve: Serve, tmp_path: Path
) -> None:
    found = Run(encoder, configure()).predict(examples[:30])
    found.save(tmp_path / "saved")
    assert gap(serve(tmp_path / "saved", examples[:30]), found) < FLOAT
    assert found.metrics["log_loss"] < found.metrics["uncalibrated_log_loss"]


def test_its_figures_are_no_better_than_those_of_examples_that_it_was_not_calibrated_on(
    encoder: Encoder, examples: Sequence[Example], configure: Configure
) -> None:
    reported, unseen = [], []
    for seed in range(4):  # nobody can know what came of these
        chance = random.Random(seed)
        noise = [msgspec.structs.replace(one, intent=chance.choice(INTENTS), grade=None) for one in examples]
        run = Run(encoder, configure())
        found = run.predict(noise[:48])
        reported.append(found.metrics["log_loss"])
        unseen.append(figures(*run.logits(found.tower, noise[48:]))["log_loss"])
    assert np.mean(reported) > np.mean(unseen) - 0.03


@pytest.mark.parametrize("method", ["head", "lora", "prefix"])
def test_equal_seeds_give_equal_weights(
    method: Method, encoder: Encoder, examples: Sequence[Example], configure: Configure
) -> None:
    one, same, other = (
        weights(train(encoder, configure(str(number), method=method, seed=seed), examples[:48]))
        for number, seed in enumerate((1, 1, 2))
    )
    assert set(one) == set(same)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.query_map.weight"], other["head.query_map.weight"])


def test_a_starting_pull_keeps_weights_near_where_they_were(
    encoder: Encoder, examples: Sequence[Example], configure: Configure
) -> None:
    start = Run(encoder, configure()).head.query_map.weight.detach().clone()

    def moved(l2_sp: float) -> float:
        found = weights(train(encoder, configure(str(l2_sp), epochs=4, l2_sp=l2_sp), examples))
        return float((found["head.query_map.weight"] - start).norm())

    assert moved(100.0) < 0.5 * moved(0.0)


def learns(folder: Path, *more: str) -> Forked:
    """A process that trains in a folder."""
    return Forked(str(folder), *more, log=folder / "log", env={}, program="tests.models.training.learner")


@pytest.mark.timeout(900)
def test_a_killed_run_goes_on_to_the_same_weights(examples: Sequence[Example], tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        folder.mkdir()
        (folder / "examples.json").write_bytes(msgspec.json.encode(list(examples)))
    process, undisturbed = learns(killed), learns(whole)
    try:
        deadline = time.monotonic() + 600
        while last_checkpoint(killed / "run") is None and time.monotonic() < deadline:
            assert process.running, "it ended before it was killed"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        found = last_checkpoint(killed / "run")
        assert found is not None and not (killed / "saved").exists()
        # As if killed while it wrote the next one: everything is there but the end of the last file.
        half = killed / "run" / f"checkpoint-{int(found.name.rpartition('-')[2]) + 5}"
        shutil.copytree(found, half, dirs_exist_ok=True)
        (half / COMPLETE).write_text((found / COMPLETE).read_text()[:-20])
        assert last_checkpoint(killed / "run") == found
        process = learns(killed, "--resume")
        assert process.wait() == 0, (killed / "log").read_text()
        assert f"going on from {found}" in (killed / "log").read_text()
        assert undisturbed.wait() == 0, (whole / "log").read_text()
    finally:
        for one in (process, undisturbed):
            one.stop(timeout_s=0)
    resumed, wanted = (load_file(folder / "saved" / "head" / "model.safetensors") for folder in (killed, whole))
    for name, tensor in wanted.items():
        torch.testing.assert_close(resumed[name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def test_a_cross_encoder_answers_as_its_tower_whatever_the_order_of_lengths(
    pair_encoder: Encoder, examples: Sequence[Example], configure: Configure, tmp_path: Path
) -> None:
    longer = [Example(query="red hose", item=f"hose {'very ' * n}long", grade=1.0) for n in range(40)]
    run = Run(pair_encoder, configure(method="cross_encoder"))
    trained = run.predict([*examples[:9], *longer])
    texts = [one.item for one in longer]
    trained.save(tmp_path / "saved")
    scorer = CrossEncoderScorer(texts.__getitem__, str(tmp_path / "saved" / "cross_encoder"), precision="float32")
    [rows] = scorer.score([ScoreRequest(np.arange(40), query_text="red hose")])
    logits, _ = run.logits(trained.tower, longer)
    np.testing.assert_allclose(rows, probabilities(logits), atol=1e-5)


def test_a_classifier_has_an_output_an_intent() -> None:
    model = classifier(PACKAGED)
    assert model.get_parameter("classifier.weight").shape == (4, 384)
    assert {weights.dtype for weights in model.parameters()} == {torch.float32}
