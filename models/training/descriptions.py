"""Few labels: intents described in words, so that unlabelled pairs can be labelled by the scorer itself.

A description is a query with a hole, such as "something like {query}": how well an item answers it says how much it is
that intent's. Ignoring is the absence of the rest. The few labels fit a scale and a bias for each intent; what the
described intents then say of unlabelled pairs is trained on beside the labels, at a lower weight (Schick and Schütze
2021, "Exploiting Cloze Questions for Few Shot Text Classification and Natural Language Inference").
Knows examples and trained scorers; nothing of files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from torch import nn

from models.intents import INTENTS
from models.scorer import Floats
from models.training import calibration
from models.training.batches import ordered
from models.training.examples import Example, expected_level
from models.training.figures import probabilities
from models.training.run import Run

HOLE = "{query}"
DEFAULT = {"buy": "{query}", "read": "something similar to {query}", "look": "related to {query}"}


@dataclass(frozen=True, slots=True)
class Descriptions:
    """Intents in words, and how much a pair that they label counts beside a labelled one.

    Raises
    ------
    ValueError
        For an unknown intent, or a description without the hole ``{query}``.

    Examples
    --------
    >>> Descriptions({"buy": "cheap {query}"}).asked("buy", "tap")
    'cheap tap'
    """

    templates: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT))
    weight: float = 0.1

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.templates) - set(INTENTS[:-1])):
            raise ValueError(f"{', '.join(unknown)}: describe only {', '.join(INTENTS[:-1])}; ignore is what is left")
        for intent, template in self.templates.items():
            if HOLE not in template:
                raise ValueError(f"the description of {intent}, {template!r}, has no {HOLE} in it")

    def asked(self, intent: str, query: str) -> str:
        """The query that stands for an intent; without a description, or without words, the query itself."""
        return self.templates.get(intent, HOLE).replace(HOLE, query) if query.strip() else query


def described(run: Run, tower: nn.Module, examples: Sequence[Example], descriptions: Descriptions) -> Floats:
    """Logits [n, 4] of examples in the order of :func:`models.training.batches.contexts`, each intent's by its own
    description."""
    columns = []
    for column, intent in enumerate(INTENTS):
        asked = [
            msgspec.structs.replace(example, query=descriptions.asked(intent, example.query)) for example in examples
        ]
        columns.append(run.logits(tower, asked)[0][:, column])
    return np.stack(columns, axis=1)


def label(
    run: Run,
    tower: nn.Module,
    labelled: Sequence[Example],
    unlabelled: Sequence[Example],
    descriptions: Descriptions,
) -> list[Example]:
    """The labelled examples, and after them the unlabelled with the grades that the described intents give them.

    Parameters
    ----------
    unlabelled
        Pairs; what they say of intent or grade is not looked at.
    """
    logits = described(run, tower, labelled, descriptions)
    targets = np.stack([example.target() for example in ordered(labelled, run.config.most_items)])
    found = calibration.fit(logits, targets)(described(run, tower, unlabelled, descriptions))
    levels = expected_level(probabilities(found)).clip(0, 1)
    return [
        *labelled,
        *(
            msgspec.structs.replace(example, intent=None, grade=float(level), weight=descriptions.weight)
            for example, level in zip(ordered(unlabelled, run.config.most_items), levels, strict=True)
        ),
    ]
