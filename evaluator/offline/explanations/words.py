"""What is done with words: brands found, texts with a word left out, queries said otherwise. Pure."""

from collections.abc import Sequence

from evaluator.offline.explanations.explanation import plain
from evaluator.offline.perturbations.inflection import other_number
from models.words import words


def brand_places(words: Sequence[str], brand: str) -> tuple[int, ...]:
    """Where the brand stands in an item's words; the first word where no brand is known.

    Examples
    --------
    >>> brand_places(["The", "Home", "Depot", "Bucket"], "Home Depot"), brand_places(["Bosch", "Drill"], "")
    ((1, 2), (0,))
    >>> brand_places(["Drill"], "Bosch")
    ()
    """
    wanted = [plain(word) for word in brand.split()]
    if not wanted:
        return (0,) if words else ()
    found = [plain(word) for word in words]
    starts = (start for start in range(len(found)) if found[start : start + len(wanted)] == wanted)
    return next((tuple(range(start, start + len(wanted))) for start in starts), ())


def each_left_out(text: str) -> list[str]:
    """A text without its first word, without its second one, and so on; nothing for one word alone.

    Examples
    --------
    >>> each_left_out("red garden hose")
    ['garden hose', 'red hose', 'red garden']
    >>> each_left_out("hose")
    []
    """
    words = text.split()
    if len(words) < 2:
        return []
    return [" ".join(words[:place] + words[place + 1 :]) for place in range(len(words))]


def paraphrase(query: str) -> str:
    """The same words, last first, in capitals, and the last noun in the other number.

    Examples
    --------
    >>> paraphrase("red garden hose"), paraphrase("hoses 50 ft")
    ('HOSES GARDEN RED', 'FT 50 HOSE')
    """
    found = list(words(query))
    nouns = [place for place, word in enumerate(found) if word.isalpha() and len(word) >= 3]
    if nouns:
        found[nouns[-1]] = other_number(found[nouns[-1]])
    return " ".join(reversed(found)).upper()
