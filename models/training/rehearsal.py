"""Two methods against forgetting: rehearsal of older examples, and distillation from the previous model.

Knows examples and trained scorers; nothing of files or versions. The third method, a pull towards the initial weights
(L2-SP), is an option of the run itself.
"""

import random
from collections.abc import Sequence

import msgspec
import numpy as np
from torch import nn

from models.training.batches import ordered
from models.training.examples import Example, by_context
from models.training.run import Run


def rehearse(new: Sequence[Example], old: Sequence[Example], share: float, seed: int = 0) -> list[Example]:
    """New examples, and a sample of whole old contexts that makes up ``share`` of all contexts, or all old ones.

    Examples
    --------
    >>> new = [Example(query=f"new {number}", item="x", grade=1) for number in range(6)]
    >>> old = [Example(query=f"old {number}", item="x", grade=1) for number in range(9)]
    >>> sum(one.query.startswith("old") for one in rehearse(new, old, 0.25))
    2

    Raises
    ------
    ValueError
        When the share is not at least 0 and below 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of old contexts is {share}; it must be at least 0 and below 1")
    groups = by_context(old)
    wanted = round(share / (1 - share) * len(by_context(new)))
    drawn = random.Random(seed).sample(groups, min(wanted, len(groups)))
    return [*new, *(example for group in drawn for example in group)]


def taught(run: Run, tower: nn.Module, examples: Sequence[Example]) -> list[Example]:
    """The examples, by context, with a trained scorer's logits as the teacher's, for the loss ``distil``; examples that
    have a teacher's logits keep them."""
    logits, _ = run.logits(tower, examples)
    return [
        msgspec.structs.replace(example, teacher=example.teacher or tuple(row.tolist()))
        for example, row in zip(ordered(examples, run.config.most_items), logits.astype(np.float64), strict=True)
    ]
