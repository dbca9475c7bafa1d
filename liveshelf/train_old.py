"""What ``liveshelf train`` does against forgetting: older examples beside the new, the parent as their teacher, and the
older examples' loss before and after."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from models.encoder import Encoder
from models.late_interaction import LateInteraction
from models.scorer import Floats
from models.store.parts import Parts
from models.training.config import TrainConfig
from models.training.examples import Example, split
from models.training.figures import figures
from models.training.methods import Method
from models.training.rehearsal import rehearse, taught
from models.training.run import Run, Trained
from streams.config import ModelConfig

JUDGED = 0.1
"""Share of the older contexts that are only looked at, before and after."""


class Readable(Protocol):
    """Where older examples come from, such as :class:`liveshelf.train.Source`."""

    def read(self) -> tuple[list[Example], list[Example]]:
        """Examples to train on again, and others to see how much of them is forgotten."""


@dataclass(frozen=True, slots=True)
class Older:
    """Older examples: ``share`` of the contexts trained on are drawn from them."""

    source: Readable
    share: float


class Remembering:
    """The scorer that a run starts from, as the judge and teacher of older examples.

    Parameters
    ----------
    older
        None where only the parent's answers to the new examples are to be kept.
    """

    def __init__(self, older: Older | None, base: Parts, model: ModelConfig, config: TrainConfig) -> None:
        self.older, self.config = older, config
        self.judged: list[Example] = []
        self.before = 0.0
        method: Method = "cross_encoder" if base.architecture == "cross_encoder" else "head"
        head = LateInteraction.load(base.head) if base.head else None
        asked = replace(config, method=method, negatives=0, report_to=())
        self._run = Run(encoder_of(base, model, method), asked, head=head)
        self._tower = self._run.tower()

    def add(self, examples: Sequence[Example]) -> list[Example]:
        """The examples to train on, old ones among them; those to be remembered have the parent's answers."""
        keep = self.config.losses.get("distil", 0) > 0
        if self.older is None:
            return taught(self._run, self._tower, examples) if keep else list(examples)
        again, self.judged = self.older.source.read()
        if not self.judged:
            again, self.judged = split(again, JUDGED)
        self.before = self._loss(self._run.logits(self._tower, self.judged))
        drawn = rehearse(examples, again, self.older.share, self.config.seed)[len(examples) :]
        return [*examples, *(taught(self._run, self._tower, drawn) if keep and drawn else drawn)]

    def after(self, run: Run, trained: Trained) -> dict[str, float]:
        """The older examples' log loss by what training started from and by what it made."""
        after = self._loss(run.logits(trained.tower, self.judged))
        return {"older_log_loss_before": self.before, "older_log_loss_after": after}

    def _loss(self, predicted: tuple[Floats, Floats]) -> float:
        return figures(*predicted)["log_loss"]


def encoder_of(base: Parts, model: ModelConfig, method: Method) -> Encoder:
    """The encoder that a method starts from: the version's own with its adapter where it stays frozen, else without;
    a cross-encoder's for a cross-encoder."""
    return Encoder(
        str(base.cross_encoder) if base.cross_encoder and method == "cross_encoder" else base.weights,
        precision=model.precision,
        max_item_tokens=model.max_item_tokens,
        max_query_tokens=model.max_query_tokens,
        adapter=base.adapter if method == "head" else None,
    )
