"""What ``liveshelf train`` adds to the examples it was given: mined negatives, older examples, pairs without labels."""

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
"""Negatives a context, unless told otherwise."""


class Readable(Protocol):
    """Where examples come from, such as :class:`liveshelf.training.run.Source`."""

    def read(self) -> tuple[list[Example], list[Example]]:
        """Examples to train on, and others to judge by."""


class Step(Protocol):
    """One thing done to the examples before training."""

    @property
    def what(self) -> str:
        """What the examples are with then, such as "mined negatives"."""

    def add(self, examples: list[Example], dev: list[Example], start: Start) -> list[Example]:
        """The examples to train on."""

    def after(self, run: Run, tower: nn.Module) -> dict[str, float]:
        """What there is to say of it once the scorer is trained, by name."""


@dataclass(frozen=True, slots=True)
class Mining:
    """Negatives: ``count`` a context, from ``catalogue`` (texts) and the examples' own items."""

    how: Mine
    count: int
    catalogue: tuple[str, ...] = ()
    guard: Guard | None = Guard()  # noqa: RUF009 (frozen)
    what = "mined negatives"

    def add(self, examples: list[Example], dev: list[Example], start: Start) -> list[Example]:
        """As :class:`Step`; the guard asks the scorer as it is so far."""
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
class Remembering:
    """Against forgetting: ``share`` of the contexts trained on are older ones, and with the loss ``distil`` the scorer
    so far is the teacher of these, or of all where there are none."""

    older: Readable | None
    share: float = 0.0
    what = "what is to be remembered"
    before: float = field(default=0.0, init=False)
    judged: list[Example] = field(default_factory=list, init=False)

    def add(self, examples: list[Example], dev: list[Example], start: Start) -> list[Example]:  # noqa: ARG002
        """As :class:`Step`."""
        run, tower = start.served()
        run.items = None  # it does not hold the older examples' items
        keep = start.config.losses.get("distil", 0) > 0
        if self.older is None:
            return taught(run, tower, examples) if keep else examples
        again, self.judged = self.older.read()
        self.before = _loss(run, tower, self.judged)
        drawn = rehearse(examples, again, self.share, start.config.seed)[len(examples) :]
        return [*examples, *(taught(run, tower, drawn) if keep and drawn else drawn)]

    def after(self, run: Run, tower: nn.Module) -> dict[str, float]:
        """The older examples' log loss by what training started from, and by what it made."""
        if not self.judged:
            return {}
        return {"older_log_loss_before": self.before, "older_log_loss_after": _loss(run, tower, self.judged)}


@dataclass(frozen=True, slots=True)
class Describing:
    """Few labels: pairs without any, labelled by the intents' descriptions."""

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
