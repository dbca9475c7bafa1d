"""Careless changes of a text: typos, neighbouring keys, capitals, missing words and stray spaces.

Pure: the caller gives the randomness. Knows nothing of models.
"""

import random
from collections.abc import Callable, Mapping, Sequence

KINDS = ("typo", "keyboard", "case", "words left out", "spaces")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_PLACES = {letter: (row, column) for row, letters in enumerate(_ROWS) for column, letter in enumerate(letters)}

NEIGHBOURS = {
    letter: "".join(
        other
        for other, (y, x) in _PLACES.items()
        if other != letter and (abs(x - column) <= 1 if y == row else y - row in {-1, 1} and x - column in {0, row - y})
    )
    for letter, (row, column) in _PLACES.items()
}
"""Keys beside a letter's, on a QWERTY keyboard whose rows are each half a key further right."""

TYPOS: Mapping[str, Callable[[str], str]] = {
    "swap": lambda pair: pair[::-1],
    "drop": lambda pair: pair[1],
    "double": lambda pair: pair[0] + pair,
}
"""What becomes of two letters, by the kind of typo."""


def seeded(*names: str | int) -> random.Random:
    """Randomness of its own for whatever is named: the same names give the same."""
    return random.Random("\n".join(map(str, names)))


def misspell(text: str, chance: random.Random, ways: Sequence[str] = tuple(TYPOS)) -> str:
    """A text with one typo, never in a word's first letter; the same text where no word has three letters.

    Examples
    --------
    >>> [misspell("hose", random.Random(1), [way]) for way in TYPOS]
    ['hsoe', 'hse', 'hoose']
    """
    places = [i for i in range(1, len(text) - 1) if all(near.isalpha() for near in text[i - 1 : i + 2])]
    if not places:
        return text
    at = chance.choice(places)
    return text[:at] + TYPOS[chance.choice(ways)](text[at : at + 2]) + text[at + 2 :]


def perturb(text: str, kind: str, chance: random.Random) -> str:
    """A text with one change of a kind; the same text where there is nothing to change.

    ``typo`` swaps two letters, drops one or doubles one, never a word's first; ``keyboard`` types a neighbouring key;
    ``case`` changes to capitals or title case; ``words left out`` drops one; ``spaces`` adds some around and between.

    Examples
    --------
    >>> [perturb("garden hose reel", kind, random.Random(1)) for kind in KINDS]
    ['gardden hose reel', 'gaeden hose reel', 'GARDEN HOSE REEL', 'hose reel', 'garden  hose  reel']
    """
    words = text.split()
    match kind:
        case "typo":
            return misspell(text, chance)
        case "keyboard":
            places = [i for i, letter in enumerate(text) if letter.lower() in NEIGHBOURS]
            if not places:
                return text
            at = chance.choice(places)
            return text[:at] + chance.choice(NEIGHBOURS[text[at].lower()]) + text[at + 1 :]
        case "case":
            return chance.choice((text.upper(), text.title()))
        case "words left out":
            lost = chance.randrange(len(words)) if len(words) > 1 else -1
            return " ".join(word for place, word in enumerate(words) if place != lost) if lost >= 0 else text
        case "spaces":
            return chance.choice(("", " ")) + "  ".join(words) + chance.choice(("", "  "))
    raise ValueError(f"there is no kind {kind!r} of perturbation, only {', '.join(KINDS)}")
