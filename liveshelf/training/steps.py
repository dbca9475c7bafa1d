"""What ``liveshelf train`` adds to its examples: mined negatives, older examples, pairs labelled by descriptions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import nn

from models.scorer import Floats
from models.training.descriptions import Descriptions, label
from models.training.examples import Example, expected_level
from models.training.figures import figures, probabilities
from models.training.negatives import Guard, Mine, Miner
from models.training.rehearsal import rehearse, taught
from models.training.run import Run
from models.training.start import Start

MINED = 4
"""The default number of negatives for a context."""


class Readable(Protocol):
    """Where examples come from, such as :class:`liveshelf.training.run.Source`."""

    def read(self) -> tuple[list[Example], list[Example]]:
        """Examples to train on, and others to evaluate on."""


class Step(Protocol):
    """A step that changes the examples before training."""

    @property
    def what(self) -> str:
        """What the step adds, such as "mined negatives"."""

    def add(self, examples: list[Example], dev: list[Example], start: Start) -> list[Example]:
        """The examples to train on."""

    def after(self, run: Run, tower: nn.Module) -> dict[str, float]:
        """Metrics of the step after training, by name."""


@dataclass(frozen=True, slots=True)
class Mining:
    """Adds ``count`` negatives to a context, from ``catalogue`` (texts) and the items of the examples."""

    how: Mine
    count: int
    catalogue: tuple[str, ...] = ()
    guard: Guard | None = Guard()  # noqa: RUF009 (frozen)
    what = "mined negatives"

    def add(self, examples: list[Example], dev: list[Example], start: Start) -> list[Example]:
        """As :class:`Step`; the guard uses the scorer before training."""
        pool = {text for one in examples for text in (one.item, *one.history)} | set(self.catalogue)
        items = start.encode(pool | {text for one in dev for text in (one.item, *one.history)})
        run, tower = start.served()

        def score(some: Sequence[Example]) -> Floats:
            return expected_level(probabilities(run.logits(tower, some)[0]))

        return Miner(start.encoder, items, pool).mine(
            examples, self.count, self.how, self.guard, score, start.config.seed
        )

    def after(self, run: Run, tower: nn.Module) -> dict[str, float]:  # noqa: ARG002
        """Nothing."""
        return {}


@dataclass(slots=True)
class Rehearsal:
    """Reduces forgetting: a ``share`` of the training contexts are older ones. With the loss ``distil``, the scorer
    before training is the teacher on these, or on all contexts if there are no older ones."""

    older: Readable | None
    share: float = 0.0
    what = "older examples or the parent's predictions"
    before: float = field(default=0.0, init=False)
    dev: list[Example] = field(default_factory=list, init=False)

    def add(self, examples: list[Example], dev: list[Example], start: Start) -> list[Example]:  # noqa: ARG002
        """As :class:`Step`."""
        run, tower = start.served()
        run.items = None  # it does not have the items of the older examples
        keep = start.config.losses.get("distil", 0) > 0
        if self.older is None:
            return taught(run, tower, examples) if keep else examples
        again, self.dev = self.older.read()
        self.before = _loss(run, tower, self.dev)
        drawn = rehearse(examples, again, self.share, start.config.seed)[len(examples) :]
        return [*examples, *(taught(run, tower, drawn) if keep and drawn else drawn)]

    def after(self, run: Run, tower: nn.Module) -> dict[str, float]:
        """The log loss on older examples, before and after training."""
        if not self.dev:
            return {}
        return {"older_log_loss_before": self.before, "older_log_loss_after": _loss(run, tower, self.dev)}


@dataclass(frozen=True, slots=True)
class Describing:
    """Adds unlabelled pairs, which the descriptions of the intents label."""

    unlabelled: Readable
    descriptions: Descriptions
    what = "pairs labelled by descriptions"

    def add(self, examples: list[Example], dev: list[Example], start: Start) -> list[Example]:  # noqa: ARG002
        """As :class:`Step`."""
        more, aside = self.unlabelled.read()
        run, tower = start.served()
        return label(run, tower, examples, [*more, *aside], self.descriptions)

    def after(self, run: Run, tower: nn.Module) -> dict[str, float]:  # noqa: ARG002
        """Nothing."""
        return {}


def _loss(run: Run, tower: nn.Module, examples: Sequence[Example]) -> float:
    return figures(*run.logits(tower, examples))["log_loss"]
