"""What a dimension is: what it measures of one contender on one data set, and how dimensions are found.

Knows values; nothing of processes, files or other contenders.
"""

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from evaluator.message import Message, Text
from evaluator.offline import dimensions
from evaluator.offline.contenders.contender import Contender, Scores
from evaluator.offline.data import Document, EvaluationData
from evaluator.offline.measures.measure import Better
from evaluator.offline.resampling import Numbers, Resampling


class Reading(msgspec.Struct, kw_only=True):
    """One figure of one contender, with its replicates.

    Attributes
    ----------
    measure
        Its name, such as ``ndcg@10``; the same for all contenders.
    dimension
        Where it belongs, such as ``effect``.
    segment
        The group of cases that it is of, such as ``query: tail``; empty for all cases.
    unit
        Empty for a plain number; else such as ``ms`` or ``MB``.
    better
        Which way is better; None where neither is.
    value
        The figure; None where it is undefined.
    replicates
        The figure on each draw of the bootstrap, None where it is undefined; empty where it was not resampled. All
        contenders have the same draws.
    cases
        The number of each case, None where it is undefined; empty where the figure is not a mean over cases.
    count
        How many cases it is from.
    says
        What it is and how it was made, in one sentence.
    note
        What a reader has to know of this value, such as ``sampled candidates``.
    """

    measure: str
    dimension: str
    value: float | None
    better: Better | None = "higher"
    segment: str = ""
    unit: str = ""
    replicates: list[float | None] = []
    cases: list[float | None] = []
    count: int = 0
    says: Text = ""
    note: Text = ""


class Finding(msgspec.Struct, kw_only=True):
    """Something that a dimension found in one contender and that a reader must see first, such as a planted defect.

    Attributes
    ----------
    name
        The kind of defect; findings of the same kind are told once, the gravest first.
    severity
        From 0 (worth knowing) to 1 (do not use this model).
    sentence
        What was found, with its figures, in English.
    said
        The same, sentence by sentence, for other languages. The first one tells the defect and its main figure.
    """

    dimension: str
    name: str
    severity: float
    sentence: str
    said: list[Message] = []


def finding(dimension: str, name: str, severity: float, *sentences: Message) -> Finding:
    """A finding that can be said in every language of the report.

    Examples
    --------
    >>> finding("effect", "constant", 0.9, Message("It scores {count} items alike.", {"count": 8})).sentence
    'It scores 8 items alike.'
    """
    sentence = " ".join(map(str, sentences))
    return Finding(dimension=dimension, name=name, severity=severity, sentence=sentence, said=list(sentences))


class Part(msgspec.Struct, kw_only=True):
    """What a dimension found of one contender: figures, findings, and details that its page of the report shows."""

    readings: list[Reading] = []
    findings: list[Finding] = []
    details: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What a dimension works with: a contender that is fitted, the data, and the contender's scores of all cases.

    Attributes
    ----------
    probabilities
        float64 [n, 4] per case; None where the contender gives none.
    seconds
        How long fitting and scoring took, by ``fit`` and ``score``; the processor's time of fitting by ``fit_cpu``.
    progress
        Called with the share that is done, 0 to 1.
    peak_mb
        The most memory that its process had when all cases were scored; NaN where it was not measured.
    price_per_core_hour
        As in :class:`evaluator.offline.spec.Spec`.
    """

    contender: Contender
    data: EvaluationData
    scores: Sequence[Scores]
    probabilities: Sequence[Scores] | None
    resampling: Resampling
    seed: int
    seconds: dict[str, float]
    progress: Callable[[float], None] = lambda _: None
    peak_mb: float = math.nan
    price_per_core_hour: float = 0.05


class Dimension(Protocol):
    """A dimension of the evaluation.

    Attributes
    ----------
    name
        As on the command line and in the report; its module has the same.
    """

    name: str

    def further_items(self, data: EvaluationData, seed: int) -> Mapping[str, Document]:
        """Items that it has ranked besides those of the data, such as items with stuffed titles, by ids of their own.

        They are among ``bench.data.items`` when a contender is fitted; no case of ``bench.data`` has them.
        """

    def measure(self, bench: Bench) -> Part:
        """Measure one contender."""


def names() -> list[str]:
    """The names of all dimensions: a dimension has the name of its module.

    Examples
    --------
    >>> "effect" in names()
    True
    """
    return sorted(one.name for one in pkgutil.iter_modules(dimensions.__path__) if one.name != __name__.split(".")[-1])


def named(name: str) -> Dimension:
    """A dimension: the ``DIMENSION`` of the module of its name.

    Examples
    --------
    >>> named("effect").name
    'effect'
    """
    found: Dimension = importlib.import_module(f"{dimensions.__name__}.{name}").DIMENSION
    return found


def optional(value: float) -> float | None:
    """NaN as None, for JSON."""
    return None if value != value else float(value)  # noqa: PLR0124


def mean_reading(values: Numbers, resampling: Resampling, *, keep_cases: bool = True, **names: Any) -> Reading:
    """The mean of a number over the cases where it is defined, with its replicates.

    Parameters
    ----------
    values
        float64 [cases], NaN where undefined.
    names
        The other fields of :class:`Reading`.
    """
    replicates = resampling.mean(values)
    return Reading(
        value=optional(replicates[0]),
        replicates=[optional(value) for value in replicates],
        cases=[optional(value) for value in values] if keep_cases else [],
        count=int((values == values).sum()),  # noqa: PLR0124
        **names,
    )
