"""What training starts from: a version's parts, or the packaged encoder and a fresh head."""

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

GOING_ON = 1.0
"""Epochs of a head that goes on from a trained one: more forgets the old and learns the new by heart
(``docs/training.md``)."""


class EncoderLimits(Protocol):
    """What an encoder is made with besides its weights: its precision, and the longest texts in tokens."""

    @property
    def precision(self) -> Precision:
        """What the encoder computes in."""
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
    """The encoder and head that training goes on from, and the scorer that they are until then.

    Attributes
    ----------
    items
        Items encoded once for all that a run does with its encoder; None where each part looks them up itself.
    """

    def __init__(self, base: Parts, model: EncoderLimits, config: TrainConfig) -> None:
        self.base, self.model = base, model
        goes_on = config.method == "head" and base.head is not None and config.epochs is None
        self.config, self._whole = replace(config, epochs=GOING_ON) if goes_on else config, config
        self.encoder = self._encoder(config.method)
        self.head = LateInteraction.load(base.head) if base.head else None
        self.items: FrozenItems | None = None

    def encode(self, texts: Iterable[str]) -> FrozenItems:
        """Encode items, and keep them for the run."""
        self.items = FrozenItems(self.encoder, texts, self.config.items_folder)
        return self.items

    def run(self, progress: Callable[[float], None] | None = None) -> Run:
        """The run to come."""
        return Run(self.encoder, self.config, head=self.head, items=self.items, progress=progress)

    def afresh(self, progress: Callable[[float], None] | None = None) -> Run:
        """The same with a head that has learned nothing, and so nothing wrong."""
        config = replace(self._whole, folder=self._whole.folder / "afresh")
        return Run(self.encoder, config, items=self.items, progress=progress)

    def served(self) -> tuple[Run, nn.Module]:
        """The scorer as it is served so far, and what asks it."""
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
        """The version's own with its adapter where it stays frozen, else without; a cross-encoder's for its kind."""
        base, model = self.base, self.model
        return Encoder(
            str(base.cross_encoder) if base.cross_encoder and method == "cross_encoder" else base.weights,
            precision=model.precision,
            max_item_tokens=model.max_item_tokens,
            max_query_tokens=model.max_query_tokens,
            adapter=base.adapter if method == "head" else None,
        )
