"""Synonyms are mined where judgements, titles and neighbours agree, and only there."""

import numpy as np

from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.perturbations.lexicon import Lexicon, common_words


def catalogue(together: bool = False) -> EvaluationData:
    """Queries ask for taps; titles call them faucets. A third of the catalogue is of lamps."""
    texts = {f"f{n}": f"brass {'tap ' if together else ''}faucet with lever" for n in range(3)}
    texts |= {"t": "brass tap with lever", "old": "brass tap with knob"} if not together else {}
    texts |= {f"l{n}": f"desk lamp number{chr(97 + n % 26)} lights" for n in range(120)}
    queries = ["kitchen tap", "brass taps", "tap lever", "old tap"]
    train = [Case(f"q{n}", (f"f{n % 3}", "l1"), np.array([3.0, 1.0]), query) for n, query in enumerate(queries)]
    train += [Case("all", tuple(texts), np.full(len(texts), 1.0), "everything")]
    ranked = [Case("r", ("f1", "l2"), np.array([3.0, 1.0]), "modern tap")]
    return EvaluationData("d", "graded", ranked, train, {i: Document(text) for i, text in texts.items()}, (1.0, 3.0))


def test_what_good_answers_say_instead_is_a_synonym() -> None:
    assert Lexicon.of(catalogue()).synonyms == {"tap": "faucet"}


def test_words_that_stand_in_one_title_are_none() -> None:
    assert Lexicon.of(catalogue(together=True)).synonyms == {}


def test_frequent_words_come_first() -> None:
    data = catalogue()
    assert common_words(data)[:3] == ("desk", "lamp", "light") and Lexicon.of(data).common == common_words(data)
