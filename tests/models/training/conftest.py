"""A shop of few words, for runs that take a second."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.encoder import Encoder
from models.factory import build
from models.item_store import ItemStore
from models.scorer import ScoreRequest
from models.training.batches import contexts
from models.training.config import TrainConfig
from models.training.examples import Example
from models.weights import PACKAGED

THINGS = ("hose", "lamp", "drill", "chair", "kettle", "ladder", "fan", "rug")
COLOURS = ("red", "blue", "green", "black")

Configure = Callable[..., TrainConfig]
Serve = Callable[[Path, Sequence[Example]], np.ndarray]


@pytest.fixture(scope="session")
def examples() -> Sequence[Example]:
    """Every coloured thing asked for: it is bought, another of its colour ignored, its like in another colour graded.
    Every other context has a history as well."""
    found = []
    for number, (thing, colour) in enumerate(itertools.product(THINGS, COLOURS)):
        other, shade = THINGS[(number + 3) % len(THINGS)], COLOURS[(number + 1) % len(COLOURS)]
        query, history = f"{colour} {thing}", (f"{other} in {colour}", f"{thing} stand") if number % 2 else ()
        found += [
            Example(query=query, history=history, item=f"{thing} in {colour}", intent="buy", position=0),
            Example(query=query, history=history, item=f"{other} in {colour}", intent="ignore", position=1),
            Example(query=query, history=history, item=f"{thing} in {shade}", grade=0.5, position=2),
        ]
    found.append(Example(history=("rug in red",), item="rug in blue", intent="look"))
    return found


@pytest.fixture(scope="session")
def pair_encoder() -> Encoder:
    """For what reads pairs of texts: that must leave other readers' encoders alone, and is tested to."""
    return Encoder(precision="float32")


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """A configuration for a run that takes a second: one epoch, quiet, in float32."""

    def config(folder: str = "run", **more: Any) -> TrainConfig:
        given = {"epochs": 1, "contexts": 8, "report_to": (), "progress": False, "evaluations": 1, "bf16": False}
        return TrainConfig(folder=tmp_path / folder, **given | more)

    return config


@pytest.fixture(scope="session")
def serve() -> Serve:
    """What a worker answers with the parts saved in a folder: float32 [n, 4], in the order of contexts."""

    def served(folder: Path, data: Sequence[Example]) -> np.ndarray:
        def part(name: str) -> Path | None:
            return folder / name if (folder / name).is_dir() else None

        own, cross = part("encoder"), part("cross_encoder")
        encoder = Encoder(str(own or PACKAGED), precision="float32", adapter=part("query_encoder") or part("adapter"))
        texts = sorted({text for one in data for text in (one.item, *one.history)})
        memory = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens, capacity=256)
        memory.put_many(range(len(texts)), encoder.encode_items(texts))
        scorer = build(
            "cross_encoder" if cross else "late_interaction",
            encoder,
            memory,
            texts.__getitem__,
            head=part("head"),
            cross_encoder=cross,
            precision="float32",
        )
        requests = []
        for one in contexts(data, 16):
            first = one.examples[0]
            [query] = encoder.encode_queries([first.query])
            history = memory.pooled(np.array([texts.index(text) for text in first.history], np.int64))
            slots = np.array([texts.index(example.item) for example in one.examples])
            requests.append(ScoreRequest(slots, query if first.query else None, first.query, history))
        return np.concatenate(scorer.score(requests))

    return served
