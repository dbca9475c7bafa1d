"""Learning from few labels: intents are described in words, so that the scorer itself labels unlabelled pairs.

A description is a template of a query, such as "something like {query}"; the score of an item for that query is the
item's score for the intent. The intent ignore is the absence of the others. The few labels fit a scale and a bias for
each intent. The scorer's labels are then trained on beside the given ones, at a lower weight (Schick and Schütze 2021,
"Exploiting Cloze Questions for Few Shot Text Classification and Natural Language Inference").
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

PLACEHOLDER = "{query}"
DEFAULT = {"buy": "{query}", "read": "something similar to {query}", "look": "related to {query}"}


@dataclass(frozen=True, slots=True)
class Descriptions:
    """Descriptions of intents, and the weight of a pair that they label, relative to a labelled one.

    Raises
    ------
    ValueError
        For an unknown intent, or a description without the placeholder ``{query}``.

    Examples
    --------
    >>> Descriptions({"buy": "cheap {query}"}).query_for("buy", "tap")
    'cheap tap'
    """

    templates: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT))
    weight: float = 0.1

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.templates) - set(INTENTS[:-1])):
            raise ValueError(f"{', '.join(unknown)}: describe only {', '.join(INTENTS[:-1])}; ignore is what is left")
        for intent, template in self.templates.items():
            if PLACEHOLDER not in template:
                raise ValueError(f"the description of {intent}, {template!r}, has no {PLACEHOLDER} in it")

    def query_for(self, intent: str, query: str) -> str:
        """The query for an intent; without a description, or for an empty query, the query itself."""
        return self.templates.get(intent, PLACEHOLDER).replace(PLACEHOLDER, query) if query.strip() else query


def described(run: Run, tower: nn.Module, examples: Sequence[Example], descriptions: Descriptions) -> Floats:
    """Logits [n, 4] of examples in the order of :func:`models.training.batches.contexts`, each intent's with its own
    description."""
    columns = []
    for column, intent in enumerate(INTENTS):
        queried = [
            msgspec.structs.replace(example, query=descriptions.query_for(intent, example.query))
            for example in examples
        ]
        columns.append(run.logits(tower, queried)[0][:, column])
    return np.stack(columns, axis=1)


def label(
    run: Run,
    tower: nn.Module,
    labelled: Sequence[Example],
    unlabelled: Sequence[Example],
    descriptions: Descriptions,
) -> list[Example]:
    """The labelled examples, and after them the unlabelled ones with grades from the described intents.

    Parameters
    ----------
    unlabelled
        Pairs; their intents and grades are ignored.
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
