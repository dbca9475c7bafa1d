"""Other ways to write the same words: capitals, order, spaces left out, an end that is not typed yet, broken encoding.

Pure.
"""

from evaluator.offline.perturbations.perturbation import Change, QueryPerturbation

TYPOGRAPHIC = {"'": "\u2019", '"': "\u201d", "-": "\u2013", " ": "\u00a0"}
"""What word processors and web pages write instead of characters of a keyboard."""


def capitals(change: Change) -> str:
    """A first capital, every word with one, or capitals throughout.

    Examples
    --------
    >>> import random
    >>> [capitals(Change("garden hose", strength, random.Random(0))) for strength in (1, 2, 3)]
    ['Garden hose', 'Garden Hose', 'GARDEN HOSE']
    """
    return (str.capitalize, str.title, str.upper)[change.strength - 1](change.text)


def reordered(change: Change) -> str:
    """Two neighbouring words swap, once or twice, or the words are shuffled."""
    words = change.text.split()
    if len(set(words)) < 2:
        return change.text
    if change.strength == 3:
        before = list(words)
        while words == before:
            change.chance.shuffle(words)
        return " ".join(words)
    places = change.chance.sample(range(len(words) - 1), min(change.strength, len(words) - 1))
    for place in places:
        words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


def joined(change: Change) -> str:
    """As many spaces as the strength are left out.

    Examples
    --------
    >>> import random
    >>> joined(Change("garden hose reel", 3, random.Random(0)))
    'gardenhosereel'
    """
    words = change.text.split()
    gaps = range(1, len(words))
    left_out = set(change.chance.sample(gaps, min(change.strength, len(gaps))))
    return "".join(word if not place or place in left_out else f" {word}" for place, word in enumerate(words))


def truncated(change: Change) -> str:
    """The end is missing: a quarter of the letters of the last word, half of them, or half of the query.

    Examples
    --------
    >>> import random
    >>> [truncated(Change("garden hose reel", strength, random.Random(0))) for strength in (1, 2, 3)]
    ['garden hose ree', 'garden hose re', 'garden h']
    """
    text = change.text.strip()
    last = len(text.split()[-1]) if text else 0
    lost = (max(1, last // 4), max(1, last // 2), len(text) // 2)[change.strength - 1]
    return text[: len(text) - lost].strip() or change.text


def mojibake(change: Change) -> str:
    """As many characters as the strength are written as UTF-8 and read as Windows-1252.

    Characters outside ASCII come first. Quotes, dashes and spaces count as their typographic forms, as in a text copied
    from a web page.

    Examples
    --------
    >>> import random
    >>> mojibake(Change("café table", 1, random.Random(0)))
    'cafÃ© table'
    """
    text = change.text.strip()
    foreign = [place for place, letter in enumerate(text) if not letter.isascii()]
    typed = [place for place, letter in enumerate(text) if letter in TYPOGRAPHIC]
    change.chance.shuffle(typed)
    letters = list(text)
    for place in (*foreign, *typed)[: change.strength]:
        letter = TYPOGRAPHIC.get(letters[place], letters[place])
        letters[place] = letter.encode().decode("cp1252", errors="replace")
    return "".join(letters)


PERTURBATIONS = (
    QueryPerturbation("capitals", capitals, "The first letter, each word's first letter, or all letters are capitals."),
    QueryPerturbation("word order", reordered, "Two neighbouring words swap, two pairs do, or all are shuffled."),
    QueryPerturbation("missing spaces", joined, "One, two or three spaces are left out."),
    QueryPerturbation(
        "truncation",
        truncated,
        "A quarter of the last word, half of it, or half of the query is not typed yet.",
        asks_less=True,
    ),
    QueryPerturbation(
        "mojibake", mojibake, "One, two or three characters are written as UTF-8 and read as Windows-1252."
    ),
)
