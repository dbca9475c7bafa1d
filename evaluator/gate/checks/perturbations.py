"""What people do to queries without meaning anything by it: slips, shouting, missing words, stray spaces.

Knows one text, a kind and a source of chance.
"""

import random

KINDS = ("typo", "keyboard", "case", "words", "spaces")

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
"""Keys that a finger meets beside a letter's, on a QWERTY keyboard whose rows are each half a key further right."""


def perturb(text: str, kind: str, chance: random.Random) -> str:
    """A text with one change of a kind; as it was where there is nothing to change.

    ``typo`` swaps two letters, loses one or doubles one, never a word's first; ``keyboard`` hits the key beside;
    ``case`` shouts or capitalises; ``words`` loses a word; ``spaces`` adds some around and between.

    Examples
    --------
    >>> [perturb("garden hose reel", kind, random.Random(1)) for kind in KINDS]
    ['gardden hose reel', 'gaeden hose reel', 'GARDEN HOSE REEL', 'hose reel', 'garden  hose  reel']
    """
    words = text.split()
    match kind:
        case "typo":
            places = [i for i in range(1, len(text) - 1) if all(near.isalpha() for near in text[i - 1 : i + 2])]
            if not places:
                return text
            at = chance.choice(places)
            pair = text[at : at + 2]
            return text[:at] + chance.choice((pair[::-1], pair[1], pair[0] + pair)) + text[at + 2 :]
        case "keyboard":
            places = [i for i, letter in enumerate(text) if letter.lower() in NEIGHBOURS]
            if not places:
                return text
            at = chance.choice(places)
            return text[:at] + chance.choice(NEIGHBOURS[text[at].lower()]) + text[at + 1 :]
        case "case":
            return chance.choice((text.upper(), text.title()))
        case "words":
            lost = chance.randrange(len(words)) if len(words) > 1 else -1
            return " ".join(word for place, word in enumerate(words) if place != lost) if lost >= 0 else text
        case "spaces":
            return chance.choice(("", " ")) + "  ".join(words) + chance.choice(("", "  "))
    raise ValueError(f"there is no kind {kind!r} of perturbation, only {', '.join(KINDS)}")
