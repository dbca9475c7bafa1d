"""Negatives for ``liveshelf train --mine``: the catalogue encoded once, mined, and scored by the head as it stands."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from models.encoder import Encoder
from models.late_interaction import HeadConfig, LateInteraction
from models.scorer import Floats
from models.training.batches import FrozenItems
from models.training.config import TrainConfig
from models.training.examples import Example, expected_level
from models.training.figures import probabilities
from models.training.negatives import Guard, Mine, Miner, Score
from models.training.run import Run
from models.training.towers import LateInteractionTowers

MINED = 4
"""Negatives a context, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Mining:
    """How negatives are mined: ``count`` a context, from ``catalogue`` (texts) and the examples' own items."""

    how: Mine
    count: int
    catalogue: tuple[str, ...] = ()
    guard: Guard | None = Guard()  # noqa: RUF009 (frozen)

    def add(
        self,
        examples: Sequence[Example],
        dev: Iterable[Example],
        encoder: Encoder,
        head: LateInteraction | None,
        config: TrainConfig,
    ) -> tuple[list[Example], FrozenItems]:
        """Examples with negatives, and all items encoded, those of dev among them, for the run to come.

        Parameters
        ----------
        head
            What the guard asks; the untrained one where there is none yet.
        """
        texts = {text for one in (*examples, *dev) for text in (one.item, *one.history)} | set(self.catalogue)
        items = FrozenItems(encoder, texts, config.items_folder)
        pool = {text for one in examples for text in (one.item, *one.history)} | set(self.catalogue)
        miner = Miner(encoder, items, pool)
        score = scorer(encoder, head, config, items)
        return miner.mine(examples, self.count, self.how, self.guard, score, config.seed), items


def scorer(encoder: Encoder, head: LateInteraction | None, config: TrainConfig, items: FrozenItems) -> Score:
    """Expected levels by a late-interaction head as it stands."""
    config = replace(config, method="head", negatives=0, report_to=("none",))
    asked = head or LateInteraction(HeadConfig(dim=encoder.dim, token_dim=encoder.token_dim))
    tower = LateInteractionTowers(asked, None, config.losses)
    run = Run(encoder, config, items=items)

    def score(examples: Sequence[Example]) -> Floats:
        logits, _ = run.logits(tower, examples)
        return expected_level(probabilities(logits))

    return score
