"""The interface of all contenders, and how they are found by name.

Knows values only; nothing of files, processes or measures.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from evaluator.offline import contenders
from evaluator.offline.data import Case, EvaluationData
from evaluator.offline.message import said

Scores = npt.NDArray[np.float64]


class Contender(Protocol):
    """Something that ranks. One object is used by one thread, after :meth:`fit`.

    Where each pair takes a pass through a model, or money, its attribute ``costly`` is true: then dimensions try it
    on fewer cases.
    """

    def fit(self, data: EvaluationData) -> None:
        """Prepare for the data: learn from ``data.train``, encode ``data.items``. The cases' gains are hidden."""

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """A score for each candidate, float64 [n] per case; the higher, the better."""


class ProbabilisticContender(Contender, Protocol):
    """A contender that also gives probabilities of the four intents, so that its calibration can be measured."""

    def probabilities(self, cases: Sequence[Case]) -> list[Scores]:
        """float64 [n, 4] per case, columns as :data:`models.intents.INTENTS`; every row sums to one."""


@runtime_checkable
class TextContender(Contender, Protocol):
    """A contender that also scores texts that are no item's, so that the words of items can be explained."""

    def score_texts(self, cases: Sequence[Case], texts: Sequence[Sequence[str]]) -> list[Scores]:
        """As :meth:`score`, with a text in place of each candidate; as many texts per case as it has candidates."""


Make = Callable[[str], Contender]
"""Makes a contender from what follows its kind in its name, such as the folder in ``cross_encoder:FOLDER``."""


class ContenderError(ValueError):
    """A contender that does not exist or cannot be used; the message says what there is instead."""


class LimitError(ContenderError):
    """A contender that has spent what it may spend, such as requests to a service; it says nothing of the model."""


def kinds() -> Mapping[str, Make]:
    """All kinds of contenders, by name: the ``CONTENDERS`` of every module of the package.

    Examples
    --------
    >>> {"random", "popularity", "bm25"} <= set(kinds())
    True
    """
    found: dict[str, Make] = {}
    for module in pkgutil.iter_modules(contenders.__path__):
        found |= getattr(importlib.import_module(f"{contenders.__name__}.{module.name}"), "CONTENDERS", {})
    return found


def make(name: str) -> Contender:
    """A contender by its name: a kind, or a kind, a colon and what it is made of.

    Raises
    ------
    ContenderError
        When there is no such kind.

    Examples
    --------
    >>> type(make("random")).__name__
    'Random'
    >>> make("randm")
    Traceback (most recent call last):
    evaluator.offline.contenders.contender.ContenderError: There is no contender 'randm'; there are ...
    """
    return maker(name)(name.partition(":")[2])


def maker(name: str) -> Make:
    """What makes a contender of this name.

    Raises
    ------
    ContenderError
        When there is no such kind.
    """
    known = kinds()
    if (kind := name.partition(":")[0]) not in known:
        raise ContenderError(f"There is no contender {name!r}; there are {', '.join(sorted(known))}.")
    return known[kind]


def checked(scores: Sequence[Scores], cases: Sequence[Case]) -> list[Scores]:
    """Scores as they are, where there is one finite number for each candidate.

    Raises
    ------
    ContenderError
        Where there is not, with the case.
    """
    if len(scores) != len(cases):
        raise ContenderError(said("gave {got} lists of scores for {count} cases", got=len(scores), count=len(cases)))
    for part, case in zip(scores, cases, strict=True):
        if np.shape(part) != (len(case.items),):
            text = "gave scores of shape {shape} for the {count} items of case {case}"
            raise ContenderError(said(text, shape=str(np.shape(part)), count=len(case.items), case=case.id))
        if not np.isfinite(part).all():
            raise ContenderError(said("gave a score that is no finite number for case {case}", case=case.id))
    return list(scores)
