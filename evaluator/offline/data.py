"""What contenders are evaluated on: ranking tasks with judged items, and the training part they may learn from.

Values only; knows nothing of files, models or measures.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.measures.ranking import decided

Task = Literal["graded", "clicks", "feed"]
"""Search with graded judgements, search with clicks, or a feed whose gains are later purchases."""

RECENT = 10
"""How many distinct past items stand for a shopper."""
Source = Literal[Task, "held_out"]
"""What a file of data is: one of the tasks, or the slice that a trainer has held out, whose lists are of clicks."""

Gains = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Document:
    """An item as it is evaluated: the text that models read, and fields that measures group by.

    Attributes
    ----------
    price
        In one currency; NaN where it is not known.
    first_seen
        When it first appeared, epoch ms; None where it is not known.
    seller
        Who sells it; empty where that is not known.
    """

    text: str
    brand: str = ""
    category: str = ""
    price: float = math.nan
    first_seen: int | None = None
    seller: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One ranking task: a query or a shopper's past, the candidates, and what is known of how good each is.

    Attributes
    ----------
    id
        Names the case in reports; no text of a shopper.
    items
        Ids of the candidates. In a task with clicks they stand in the order in which they were shown.
    gains
        float64 [n], 0 or more, linear: a grade, a click, a purchase. NaN where nobody judged the item.
    history
        Ids of the items that the shopper acted on before, newest first; repetitions count.
    shopper
        Who was shown it; empty where that is not known. Cases of one shopper are resampled together.
    ts
        When, epoch ms; 0 where that is not known.
    propensities
        float64 [n]: the probability with which each item was shown where it stood; None where none are logged.
    asked, weights, popularity
        What a served model read besides, where a trainer's slice has it: past queries, newest first; how much each of
        ``history`` and then of ``asked`` counts; and the demand for each candidate.
    targets, masses
        float64 [n, 4] and [n]: the outcomes as distributions over the four intents, and how much each counts. None
        where the gains tell the outcomes, and all count the same.
    segments
        Names of the groups that it belongs to, by the dimension of the grouping, such as ``{"query": "tail"}``.
    """

    id: str
    items: tuple[str, ...]
    gains: Gains
    query: str = ""
    history: tuple[str, ...] = ()
    shopper: str = ""
    ts: int = 0
    propensities: Gains | None = None
    asked: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    popularity: Mapping[str, float] = field(default_factory=dict)
    targets: Gains | None = None
    masses: Gains | None = None
    segments: Mapping[str, str] = field(default_factory=dict)

    @property
    def asks(self) -> str:
        """The query without regard to case and spaces; without one, the past."""
        return " ".join(self.query.casefold().split()) or "\n".join((*self.history, *self.asked))

    @property
    def group(self) -> str:
        """What it is resampled with: all cases of its shopper, else of its query, else itself."""
        return self.shopper or spelled(self.query) or self.id

    @property
    def decided(self) -> bool:
        """Whether its judged items differ in gain, so that an order can be good or bad.

        Examples
        --------
        >>> [Case("c", ("a", "b"), np.array(gains)).decided for gains in ([1.0, 0.0], [1.0, 1.0], [1.0, np.nan])]
        [True, False, False]
        """
        return decided(self.gains[~np.isnan(self.gains)])

    @property
    def recent(self) -> tuple[str, ...]:
        """The newest distinct items of the past: what stands for a shopper without a query, as in a worker.

        Examples
        --------
        >>> Case("c", (), np.ones(0), history=("b", "a", "b")).recent
        ('b', 'a')
        """
        return tuple(dict.fromkeys(self.history))[:RECENT]


def blind(case: Case, **changed: Any) -> Case:
    """A case, or a changed copy, as a contender sees it: without gains, outcomes and propensities."""
    items = changed.get("items", case.items)
    return replace(case, gains=np.full(len(items), np.nan), targets=None, masses=None, propensities=None, **changed)


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationData:
    """Cases to rank, cases to learn from, and the items of both.

    Attributes
    ----------
    cases, train
        No case of ``cases`` is in ``train``. Contenders may read ``train`` as they like; of ``cases`` they never see
        the gains.
    span
        The smallest and the largest gain that a judgement can have, such as 1 to 3.
    intent_weights
        The shop's worth of each intent, by which served models rank; without it they rank by the expected level.
    further
        Items of ``items`` that no case has, but that dimensions have ranked.
    hide_texts
        Whether no query and no item's text may be shown.
    """

    name: str
    task: Task
    cases: Sequence[Case]
    train: Sequence[Case]
    items: Mapping[str, Document]
    span: tuple[float, float] = (0.0, 1.0)
    intent_weights: Mapping[str, float] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    hide_texts: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """How many shoppers and queries there are; a past counts as a query where there is none."""
        shoppers = {case.shopper for case in self.cases if case.shopper}
        return {"shoppers": len(shoppers), "queries": len({case.asks for case in self.cases})}

    def texts(self, case: Case) -> list[str]:
        """The candidates' texts."""
        return [self.items[item].text for item in case.items]

    def context(self, case: Case) -> str:
        """A case's query; without one, the texts of its recent past."""
        return case.query or "; ".join(self.items[item].text for item in case.recent)

    def blind(self) -> "EvaluationData":
        """The same with the gains of the cases that are ranked hidden: no contender can read what it is judged by."""
        return replace(self, cases=[blind(case) for case in self.cases])

    def used(self) -> Iterator[str]:
        """Every item that may be asked for: those of cases, of their histories, and the further ones; each once."""
        lists = dict.fromkeys(some for case in self.cases for some in (case.items, case.history))  # many are shared
        yield from dict.fromkeys([*(item for items in lists for item in items), *self.further])


def spelled(query: str) -> str:
    """A query as it is counted: without case and double spaces.

    Examples
    --------
    >>> spelled("Garden  HOSE ")
    'garden hose'
    """
    return " ".join(query.casefold().split())


def problems(data: EvaluationData) -> list[str]:
    """Why data cannot be evaluated, in sentences; empty where it can.

    Examples
    --------
    >>> items = {"a": Document("A"), "b": Document("B")}
    >>> for sentence in problems(EvaluationData("d", "graded", [Case("1", ("a", "b"), np.ones(2), "q")], [], items)):
    ...     print(sentence)
    One query only: nothing can be resampled. Give data with at least two.
    All judgements of every case are equal: no order is better than another. Give data in which they differ.
    >>> problems(EvaluationData("d", "graded", [], [], {}))
    ['There is no case to rank: the data is empty.']
    """
    if not data.cases:
        return ["There is no case to rank: the data is empty."]
    found = []
    if len({case.group for case in data.cases}) < 2:
        unit = "shopper" if data.cases[0].shopper else "query"
        found.append(f"One {unit} only: nothing can be resampled. Give data with at least two.")
    if not any(case.decided or case.propensities is not None for case in data.cases):
        said = "All judgements of every case are equal: no order is better than another."
        found.append(f"{said} Give data in which they differ.")
    unknown = next((item for case in data.cases for item in case.items if item not in data.items), None)
    if unknown is not None:
        found.append(f"Item {unknown!r} is ranked, but is not among the items: give its text.")
    if not any(one.text for one in data.items.values()):
        found.append("No item has a text. Name its column with --column text=NAME.")
    return found
