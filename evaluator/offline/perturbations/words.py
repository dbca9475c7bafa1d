"""Other words for the same thing: singular or plural, and synonyms of the catalogue.

Pure; see the lexicon for what counts as a synonym.
"""

from evaluator.offline.perturbations.inflection import other_number, singular
from evaluator.offline.perturbations.perturbation import Change, QueryPerturbation


def inflected(change: Change) -> str:
    """The last words of three letters or more in the other number.

    Examples
    --------
    >>> import random
    >>> [inflected(Change("garden hoses 5 ft", strength, random.Random(0))) for strength in (1, 2)]
    ['garden hose 5 ft', 'gardens hose 5 ft']
    """
    words = change.text.split()
    places = [place for place, word in enumerate(words) if word.isalpha() and len(word) >= 3]
    for place in places[::-1][: change.strength]:
        words[place] = other_number(words[place])
    return " ".join(words)


def exchanged(change: Change) -> str:
    """As many words as the strength give way to a synonym.

    Examples
    --------
    >>> import random
    >>> from evaluator.offline.perturbations.lexicon import Lexicon
    >>> exchanged(Change("white Stoves", 1, random.Random(0), Lexicon({"stove": "range"})))
    'white range'
    """
    words, synonyms = change.text.split(), change.lexicon.synonyms
    places = [place for place, word in enumerate(words) if singular(word.casefold()) in synonyms]
    for place in change.chance.sample(places, min(change.strength, len(places))):
        words[place] = synonyms[singular(words[place].casefold())]
    return " ".join(words) if places else change.text


PERTURBATIONS = (
    QueryPerturbation(
        "singular and plural", inflected, "The last one, two or three words turn from singular to plural or back."
    ),
    QueryPerturbation("synonyms", exchanged, "One, two or three words give way to a synonym mined from the catalogue."),
)
