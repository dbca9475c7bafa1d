"""What is done with words: brands found, texts with a word left out, queries said otherwise. Pure."""

from collections.abc import Sequence

from evaluator.offline.explanations.explanation import plain
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
    """The same words, last first and in capitals.

    Examples
    --------
    >>> paraphrase("red garden hose")
    'HOSE GARDEN RED'
    """
    return " ".join(reversed(words(query.upper())))
