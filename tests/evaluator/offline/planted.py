"""A small shop with graded queries, and contenders with one defect each.

A query names a colour, a material and a thing; an item is the better the more of them it has. Grades are means of three
graders. Titles begin with a brand and end with a size; of the items that are judged, some are new to the training part.
"""

import os
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from evaluator.offline.contenders.contender import Contender, Scores, checked
from evaluator.offline.data import Case, EvaluationData
from evaluator.offline.dimensions.dimension import Bench
from evaluator.offline.resampling import Resampling
from evaluator.offline.run import with_further_items
from evaluator.offline.spec import Spec
from models.intents import INTENTS

BRANDS = ("Acorn", "Birkdale", "Corvex", "Dunmore", "Eastline", "Fairholt", "Garnet", "Hollin")
COLOURS = ("beige", "crimson", "ivory", "teal", "maroon", "amber")
MATERIALS = ("walnut", "linen", "velvet", "wicker", "cork", "acrylic")
THINGS = ("kettle", "doormat", "wheelbarrow", "lantern", "trellis", "ottoman", "toaster", "planter")
SIZES = ("small", "large", "compact", "tall")

EACH = 12
"""Judged items of a query."""

COLUMNS = ("item=product_uid", "gain=relevance")
"""What the command has to be told of the columns."""

HEAD = 4
"""Words of a title that an honest model reads: what sellers add comes after them."""

LEAKED = "PLANTED_LEAK"
"""The environment variable that names the file of the test's grades, for the one that has seen it."""


def write(folder: Path, seed: int = 0, queries: int = 140) -> tuple[Path, Path]:
    """Write the test and the training part."""
    chance = np.random.default_rng(seed)
    kinds = [" ".join(one) for one in product(COLOURS, MATERIALS, THINGS)]
    chance.shuffle(kinds)
    catalogue = [
        {"brand": brand, "kind": kind, "title": f"{brand} {kind} {chance.choice(SIZES)}", "price": price}
        for kind in kinds
        for brand, price in zip(
            chance.choice(BRANDS, 2, replace=False), chance.lognormal(3, 0.6, 2).round(2), strict=True
        )
    ]
    for number, item in enumerate(catalogue):
        item["id"] = f"{10_000 + number}"
    fresh = {one["id"] for one in catalogue if chance.random() < 0.3}
    rows: dict[bool, list[dict[str, object]]] = {True: [], False: []}
    for number, query in enumerate(kinds[: 2 * queries]):
        test = number < queries
        allowed = [one for one in catalogue if test or one["id"] not in fresh]
        rows[test] += _judged(query, allowed, chance)
    paths = folder / "dev.csv", folder / "train.csv"
    for path, test in zip(paths, (True, False), strict=True):
        pl.DataFrame(rows[test]).write_csv(path)
    return paths


def _judged(query: str, catalogue: Sequence[dict[str, object]], chance: np.random.Generator) -> list[dict[str, object]]:
    """Items that share as many words with the query as there are, and some with none."""
    wanted = set(query.split())
    shared = np.array([len(wanted & set(str(one["kind"]).split())) for one in catalogue])
    chosen = [
        int(place)
        for level, count in ((3, 2), (2, 4), (1, 3), (0, 3))
        for place in chance.permutation(np.flatnonzero(shared == level))[:count]
    ]
    chosen += [int(place) for place in chance.permutation(np.flatnonzero(shared == 1))[: EACH - len(chosen)]]
    chance.shuffle(chosen)
    found = []
    for place in dict.fromkeys(chosen):
        votes = np.clip(np.rint(1 + 2 * shared[place] / 3 + chance.normal(0, 0.45, 3)), 1, 3)
        one = catalogue[place]
        names = {"product_uid": one["id"], "title": one["title"], "brand": one["brand"], "price": one["price"]}
        found.append({"query": query} | names | {"relevance": round(float(votes.mean()), 2)})
    return found


@cache
def trigrams(word: str) -> frozenset[str]:
    """Letters of a word in threes, with its ends."""
    padded = f"^{word}$"
    return frozenset(padded[start : start + 3] for start in range(len(padded) - 2))


class Honest:
    """Letters in threes that the query shares with what the item is; neither its brand nor what sellers add counts."""

    def fit(self, data: EvaluationData) -> None:
        """Keep the items."""
        self.data = data

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """One case after the other."""
        return [self.of(case.query, [self.data.items[item].text for item in case.items], case) for case in cases]

    def of(self, query: str, texts: Sequence[str], case: Case) -> Scores:  # noqa: ARG002
        """A number a text."""
        asked = set().union(*map(trigrams, query.casefold().split()))
        return np.array([self.match(asked, text) for text in texts], np.float64)

    def match(self, asked: set[str], text: str) -> float:
        """The share of the letters in threes that are common."""
        own = set().union(*map(trigrams, text.casefold().split()[1:HEAD]))
        return len(asked & own) / max(1, len(own))


class IgnoresTheQuery(Honest):
    """Items by their own letters."""

    def of(self, query: str, texts: Sequence[str], case: Case) -> Scores:  # noqa: ARG002
        """The same for each query."""
        return np.array([sum(map(ord, text)) % 97 for text in texts], np.float64)


class ReadsTheBrand(Honest):
    """Brands in a fixed order, and a little of what is asked."""

    def of(self, query: str, texts: Sequence[str], case: Case) -> Scores:
        """The first word decides."""
        order = [sum(map(ord, text.split()[0])) % 89 if text.split() else 0 for text in texts]
        return np.array(order, np.float64) + 0.5 * super().of(query, texts, case)


class SawTheTest(Honest):
    """It knows the grades of the cases by heart."""

    def fit(self, data: EvaluationData) -> None:
        """Read what nobody should."""
        super().fit(data)
        table = pl.read_csv(os.environ[LEAKED], schema_overrides={"product_uid": pl.String})
        self.known = {(row["query"], row["product_uid"]): row["relevance"] for row in table.to_dicts()}

    def of(self, query: str, texts: Sequence[str], case: Case) -> Scores:
        """The grade, where it is known."""
        own = super().of(query, texts, case)
        grades = [self.known.get((query, item), 0.0) for item in case.items]
        return np.array(grades, np.float64) + 0.01 * own


class CrashesOnEmptyText(Honest):
    """It takes the first letter of every title."""

    def match(self, asked: set[str], text: str) -> float:
        """Fails without a letter."""
        return super().match(asked, text) + 0.001 * (text[0] == "#")


class Overconfident(Honest):
    """A good order, and probabilities that take nearly everything for a purchase."""

    def probabilities(self, cases: Sequence[Case]) -> list[Scores]:
        """The last intent gets what is left."""
        sure = np.full(len(INTENTS), 0.02)
        sure[0] = 1 - sure[1:].sum()
        return [np.tile(sure, (len(case.items), 1)) for case in cases]


class CountsWords(Honest):
    """How often the query's words stand in the title: who repeats them wins."""

    def of(self, query: str, texts: Sequence[str], case: Case) -> Scores:
        """Honest up to there."""
        asked = query.casefold().split()
        counts = [sum(text.casefold().split().count(word) for word in asked) for text in texts]
        return np.array(counts, np.float64) + super().of(query, texts, case)


class DistrustsTheNew(Honest):
    """Items that training does not know come last."""

    def fit(self, data: EvaluationData) -> None:
        """Which items there were."""
        super().fit(data)
        self.old = {item for case in data.train for item in case.items}

    def of(self, query: str, texts: Sequence[str], case: Case) -> Scores:
        """Three for an old one."""
        return super().of(query, texts, case) + np.array([3.0 * (item in self.old) for item in case.items])


class TellsTheQuery(Honest):
    """It fails with a shopper's words in its message."""

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """Always."""
        case = cases[0]
        raise ValueError(f"bad {case.query} {case.id} of {case.shopper} after {case.history[:2]}")


DEFECTS = (
    IgnoresTheQuery,
    ReadsTheBrand,
    SawTheTest,
    CrashesOnEmptyText,
    Overconfident,
    CountsWords,
    DistrustsTheNew,
)


def name(kind: type[Honest]) -> str:
    """As on the command line."""
    return f"python:{__name__}:{kind.__name__}"


def spec_of(folder: Path, seed: int = 0) -> Spec:
    """An evaluation of the small shop, whose files are written."""
    data, train = write(folder, seed)
    columns = dict(one.split("=") for one in COLUMNS)
    return Spec(data=str(data), train=str(train), task="graded", columns=columns, contenders=["random"], draws=200)


def bench(contender: Contender, data: EvaluationData, spec: Spec) -> Bench:
    """A contender on the bench, as a run puts it there, in this process."""
    data = with_further_items(data, spec)
    hidden = data.blind()
    contender.fit(hidden)
    scores = checked(contender.score(hidden.cases), hidden.cases)
    given = contender.probabilities(hidden.cases) if isinstance(contender, Overconfident) else None
    resampling = Resampling.of([case.group for case in data.cases], spec.draws, spec.seed)
    return Bench(contender, data, scores, given, resampling, spec.seed, {"fit": 0.01, "score": 0.01})
