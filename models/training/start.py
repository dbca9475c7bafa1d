"""The starting point of training: a version's parts, or the packaged encoder and a fresh head."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from torch import nn

from models.encoder import Encoder, Precision
from models.late_interaction import LateInteraction
from models.store.parts import Parts
from models.training.batches import FrozenItems
from models.training.config import TrainConfig
from models.training.method import Method
from models.training.run import Run

CONTINUED_EPOCHS = 1.0
"""Epochs of a head that continues from a trained one: more of them forget the old examples and overfit the new ones
(``docs/training.md``)."""


class EncoderLimits(Protocol):
    """An encoder's parameters besides its weights: its precision, and the longest texts in tokens."""

    @property
    def precision(self) -> Precision:
        """The precision that the encoder computes in."""
        ...

    @property
    def max_item_tokens(self) -> int:
        """Tokens of an item that are read."""
        ...

    @property
    def max_query_tokens(self) -> int:
        """Tokens of a query that are read."""
        ...


class Start:
    """The encoder and head that training continues from, and the scorer that they make at present.

    Attributes
    ----------
    items
        Items that are encoded once for all uses in a run; None where each part encodes its own.
    """

    def __init__(self, base: Parts, model: EncoderLimits, config: TrainConfig) -> None:
        self.base, self.model = base, model
        continues = config.method == "head" and base.head is not None and config.epochs is None
        self.config, self._given = replace(config, epochs=CONTINUED_EPOCHS) if continues else config, config
        self.encoder = self._encoder(config.method)
        self.head = LateInteraction.load(base.head) if base.head else None
        self.items: FrozenItems | None = None

    def encode(self, texts: Iterable[str]) -> FrozenItems:
        """Encode items, and store them for the run."""
        self.items = FrozenItems(self.encoder, texts, self.config.items_folder)
        return self.items

    def run(self, progress: Callable[[float], None] | None = None) -> Run:
        """The training run."""
        return Run(self.encoder, self.config, head=self.head, items=self.items, progress=progress)

    def afresh(self, progress: Callable[[float], None] | None = None) -> Run:
        """The same run with an untrained head."""
        config = replace(self._given, folder=self._given.folder / "afresh")
        return Run(self.encoder, config, items=self.items, progress=progress)

    def served(self) -> tuple[Run, nn.Module]:
        """A run that evaluates the scorer as it is served at present, and the scorer's tower."""
        method: Method = "cross_encoder" if self.base.architecture == "cross_encoder" else "head"
        same = self.config.method == method
        run = Run(
            self.encoder if same else self._encoder(method),
            replace(self.config, method=method, negatives=0, report_to=("none",)),
            head=self.head,
            items=self.items if same else None,
        )
        return run, run.tower()

    def _encoder(self, method: Method) -> Encoder:
        """The version's encoder, with its adapter only for the method ``head``; its cross-encoder for that method."""
        base, model = self.base, self.model
        return Encoder(
            str(base.cross_encoder) if base.cross_encoder and method == "cross_encoder" else base.weights,
            precision=model.precision,
            max_item_tokens=model.max_item_tokens,
            max_query_tokens=model.max_query_tokens,
            adapter=base.adapter if method == "head" else None,
            said=base.said,
        )
