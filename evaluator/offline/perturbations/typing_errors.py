"""Slips of the fingers: neighbouring keys, letters that swap or are lost, words left out. The gate has the same ones.

Pure. The stronger change goes on from the slighter one.
"""

import random
from collections.abc import Callable

from evaluator.gate.typing_errors import misspell, perturb
from evaluator.offline.perturbations.perturbation import Change, QueryPerturbation

TRIES = 8
"""How often a slip is drawn again because it would undo an earlier one."""


def repeated(slip: Callable[[str, random.Random], str]) -> Callable[[Change], str]:
    """As many slips as the strength, none of which leads back to an earlier text.

    Examples
    --------
    >>> twice = repeated(lambda text, chance: perturb(text, "words left out", chance))
    >>> twice(Change("green garden hose", 2, random.Random(0)))
    'green'
    """

    def change(asked: Change) -> str:
        seen = [asked.text]
        for _ in range(asked.strength):
            drawn = (slip(seen[-1], asked.chance) for _ in range(TRIES))
            seen += [new] if (new := next((text for text in drawn if text not in seen), None)) is not None else []
        return seen[-1]

    return change


PERTURBATIONS = (
    QueryPerturbation(
        "keyboard",
        repeated(lambda text, chance: perturb(text, "keyboard", chance)),
        "One, two or three letters are typed one key beside.",
    ),
    QueryPerturbation(
        "swaps",
        repeated(lambda text, chance: misspell(text, chance, ("swap",))),
        "One, two or three pairs of neighbouring letters swap.",
    ),
    QueryPerturbation(
        "drops",
        repeated(lambda text, chance: misspell(text, chance, ("drop",))),
        "One, two or three letters are lost, never a word's first.",
    ),
    QueryPerturbation(
        "words left out",
        repeated(lambda text, chance: perturb(text, "words left out", chance)),
        "One, two or three words are left out; one always stays.",
        asks_less=True,
    ),
)
