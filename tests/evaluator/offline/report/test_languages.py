"""Both languages say all that a report can say: every sentence of the code has its Chinese, with the same fields."""

import ast
import re
import string
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import evaluator.offline
from evaluator.message import Message, Text
from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, Document, EvaluationData, Task
from evaluator.offline.dimensions import dimension
from evaluator.offline.dimensions.dimension import Part
from evaluator.offline.measures import measure
from evaluator.offline.perturbations import perturbation
from evaluator.offline.report.messages import Speaker, words
from evaluator.offline.report.render import FIELDS_OF_WORDS
from evaluator.offline.segments import with_segments
from evaluator.offline.spec import Spec
from tests.evaluator.offline import planted

CHINESE = Speaker("zh")

ROOMS = ("cost", "dimensions", "effect", "explanations", "fairness", "measures", "perturbations")

FIELD = re.compile(r"\{[a-z_]+(:[^}]*)?\}")

CATALOGUE = 240


def fields(text: str) -> list[str]:
    """The names of the fields of a sentence."""
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def sentences() -> Iterator[tuple[str, str]]:
    """Sentences that stand in the code of the dimensions, each with its file."""
    root = Path(evaluator.offline.__path__[0])
    files = [file for room in ROOMS for file in sorted((root / room).glob("*.py"))]
    for file in (*files, root / "run.py", root / "contenders" / "contender.py", root / "safety" / "privacy.py"):
        tree = ast.parse(file.read_text("utf-8"))
        bare = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
        bare |= {id(part) for one in ast.walk(tree) if isinstance(one, ast.JoinedStr) for part in one.values}
        yield from ((file.name, text) for text in _told(tree))
        for one in ast.walk(tree):
            told = one.value if isinstance(one, ast.Constant) and id(one) not in bare else None
            if isinstance(told, str) and FIELD.search(told):
                yield file.name, told


def _told(tree: ast.Module) -> Iterator[str]:
    """Sentences without fields that a reading says or notes."""
    for one in ast.walk(tree):
        named = isinstance(one, ast.keyword) and one.arg in {"says", "note"}
        given = isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name) and one.targets[0].id == "says"
        if (named or given) and isinstance(one.value, ast.Constant) and one.value.value:  # type: ignore[attr-defined]
            yield one.value.value  # type: ignore[attr-defined]


def known(text: Text) -> bool:
    """Whether the Chinese report says it in Chinese."""
    return 'lang="en"' not in CHINESE.word(text)


def test_every_sentence_has_its_chinese() -> None:
    found = dict(reversed(one) for one in sentences())
    assert len(found) > 40
    assert {text: file for text, file in found.items() if text not in words()} == {}


def test_translations_fill_in_the_same_fields() -> None:
    unlike = {text: said for text, said in words().items() if fields(text) != fields(said)}
    assert unlike == {}


def test_measures_and_perturbations_are_told_in_chinese() -> None:
    texts = [one.says for one in measure.every()] + [one.says for one in perturbation.every()]
    names = [one.name for one in measure.every()] + [one.name for one in perturbation.every()]
    assert [text for text in (*texts, *names) if not known(text)] == []


def shop(task: Task) -> EvaluationData:
    """Searches with clicks, or a feed, with all that dimensions look at: brands, prices, pasts, propensities."""
    chance = np.random.default_rng(7)
    kinds = [f"{colour} {thing}" for colour in planted.COLOURS for thing in planted.THINGS]
    items = {
        f"i{n}": Document(f"{planted.BRANDS[n % 8]} {kinds[n % 48]} for women", planted.BRANDS[n % 8], price=float(n))
        for n in range(CATALOGUE)
    }

    def case(number: int) -> Case:
        shown = tuple(f"i{n}" for n in chance.choice(CATALOGUE, 14, replace=False))
        gains = (chance.random(14) < 0.3).astype(float)
        past = tuple(f"i{n}" for n in chance.choice(CATALOGUE, 5 + number % 40)) if task == "feed" else ()
        query = "" if task == "feed" else kinds[number % 12]
        logged = chance.uniform(0.1, 1, 14) if task == "clicks" else None
        return Case(f"c{number}", shown, gains, query, past, f"s{number % 50}", number, logged)

    cases = [case(number) for number in range(240)]
    return with_segments(EvaluationData("d", task, cases[120:], cases[:120], items))


class Careless(planted.Honest):
    """It reads titles by chance and fails on empty ones."""

    def of(self, query: str, texts: Sequence[str], case: Case) -> Scores:  # noqa: ARG002
        """Numbers of the texts' letters."""
        return np.array([ord(text[3]) + len(set(text) & set(query)) for text in texts], np.float64)


@pytest.fixture(params=["clicks", "feed"])
def parts(request: pytest.FixtureRequest) -> dict[str, Part]:
    """All dimensions of a contender that has something wrong nearly everywhere."""
    names = [one for one in dimension.names() if one != "cost"]
    spec = Spec(data="", task=request.param, contenders=["careless"], dimensions=names, draws=200)
    bench = planted.bench(Careless(), shop(request.param), spec)
    return {name: dimension.named(name).measure(bench) for name in names}


def test_all_that_the_dimensions_say_is_known_in_chinese(parts: dict[str, Part]) -> None:
    readings = [one for part in parts.values() for one in part.readings]
    said: list[Text] = [text for one in readings for text in (one.says, one.note) if text]
    said += [sentence for part in parts.values() for found in part.findings for sentence in found.said]
    assert len(said) > 100 and any(isinstance(text, Message) for text in said)
    assert {str(text) for text in said if not known(text)} == set()
    assert {one.measure for one in readings if not known(one.measure)} == set()
    brands = {brand.casefold() for brand in planted.BRANDS}
    groups = {part for one in readings if one.segment for part in one.segment.split(": ", 1)} - brands
    assert {group for group in groups if not known(group)} == set()


def test_names_of_fields_in_details_are_known_in_chinese(parts: dict[str, Part]) -> None:
    told = {name for part in parts.values() for name in _names(part.details)}
    assert {name for name in told if not known(name.replace("_", " "))} == set()


def _names(value: object, field: str = "") -> Iterator[str]:
    """Keys, and texts of fields that hold words of the code."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from (key, *_names(one, key))
    elif isinstance(value, list):
        for one in value:
            yield from _names(one)
    elif (
        isinstance(value, str)
        and field in FIELDS_OF_WORDS
        and value.casefold() not in map(str.casefold, planted.BRANDS)
    ):
        yield value
