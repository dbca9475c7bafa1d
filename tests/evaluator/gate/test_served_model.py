"""Home Depot's judged pairs through scorers as they are served: a head that learned passes, one that learned noise does
not."""

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, Score, Served
from evaluator.gate.gate import decide
from models.encoder import Encoder
from models.store.parts import Parts
from models.training.batches import FrozenItems
from models.training.config import TrainConfig
from models.training.examples import Example, read_examples, split
from models.training.run import Run

SMALL = GateConfig(
    draws=400, latency_calls=10, latency_repeats=2, robustness_contexts=10, exposure_contexts=10, pool=30
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Loading it is what takes time."""
    return Encoder(precision="float32")


def pairs(folder: Path, name: str, limit: int) -> list[Example]:
    file = folder / "homedepot" / f"{name}.jsonl.xz"
    return read_examples(file, {"item": "title", "grade": "relevance"}, (1.0, 3.0), limit)


def shuffled(examples: Sequence[Example]) -> list[Example]:
    grades = [example.grade for example in examples]
    random.Random(0).shuffle(grades)
    return [msgspec.structs.replace(one, grade=grade) for one, grade in zip(examples, grades, strict=True)]


@pytest.mark.data
def test_a_head_that_learned_passes_and_one_that_learned_noise_is_refused(
    encoder: Encoder, data_folder: Path, tmp_path: Path
) -> None:
    """The champion is untrained but calibrated, or any calibrated head would beat it."""
    kept, aside = split(pairs(data_folder, "train", 1_500), 0.2)
    held = pairs(data_folder, "dev", 700)
    items = FrozenItems(encoder, {example.item for example in (*kept, *aside, *held)})

    def head(name: str, train: Sequence[Example], calibrate: Sequence[Example]) -> Score:
        folder = tmp_path / name
        config = TrainConfig(folder=folder, epochs=2, report_to=(), progress=False, evaluations=1, bf16=False)
        run = Run(encoder, config, items=items)
        (run.train(train, calibrate) if train else run.predict(calibrate)).save(folder / "saved")
        return Served(Parts(head=folder / "saved" / "head"), encoder, items, "float32")

    champion = head("champion", [], aside)
    good = decide(champion, head("good", kept, aside), held, SMALL)
    assert good.decision == "passed", good.sentence
    noise = decide(champion, head("noise", shuffled(kept), shuffled(aside)), held, SMALL)
    assert noise.decision == "refused" and "log_loss" in noise.sentence


def test_a_history_counts_and_an_item_that_was_not_given_is_an_error(encoder: Encoder) -> None:
    served = Served(Parts(), encoder, FrozenItems(encoder, ["Garden hose", "Desk lamp", "Hose reel"]), "float32")
    items = ("Garden hose", "Desk lamp")
    [alone, with_query, touched] = served(
        [
            GateRequest("", ("Hose reel",), items),
            GateRequest("lamp", (), items),
            GateRequest("lamp", ("Hose reel",), items),
        ]
    )
    assert alone[0, 3] < alone[1, 3] and with_query[1, 3] < with_query[0, 3]
    assert (touched != with_query).any()
    with pytest.raises(KeyError):
        served([GateRequest("lamp", (), ("Kettle",))])
