"""The interface of all contenders, and how they are found by name.

Kinds are read from the modules' text, so that naming one imports its own module only: some need seconds and hundreds
of megabytes for their libraries. Knows nothing of processes and measures.
"""

import ast
import importlib
import importlib.util
import math
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from evaluator.message import said
from evaluator.offline import contenders
from evaluator.offline.data import Case, EvaluationData
from models.intents import INTENTS

Scores = npt.NDArray[np.float64]

ROUNDING = 1e-3
"""By how much probabilities may be off, such as those of half precision."""


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


class Asked(NamedTuple):
    """What it took a service to score one case.

    Attributes
    ----------
    seconds
        From the first request to the last answer, as many requests at once as are allowed; without waits for a limit of
        rate and without attempts that failed.
    read, written
        Tokens, as the service counts them; zero where it does not say.
    price
        In the currency of the prices that were given; NaN where none were.
    """

    seconds: float
    read: int
    written: int
    price: float


@runtime_checkable
class PaidContender(Contender, Protocol):
    """A contender that asks a service for each score. It is costly, and an answer is asked for once only."""

    def asked(self, cases: Sequence[Case]) -> list[Asked]:
        """What these cases took when they were scored; they were before."""


Make = Callable[[str], Contender]
"""Makes a contender from what follows its kind in its name, such as the folder in ``cross_encoder:FOLDER``."""

Check = Callable[[str], object]
"""Takes the same and raises, with a sentence for the user, where no contender can be made of it; loads no model."""


class Kind(NamedTuple):
    """A kind of contenders: the module that has it, and the first line of its docstring."""

    module: str
    says: str


class ContenderError(ValueError):
    """A contender that does not exist or cannot be used; the message says what there is instead."""


class ServiceError(ContenderError):
    """A service that gives no answer that can be used; it says nothing of the model."""


class LimitError(ServiceError):
    """A contender that has spent what it may spend, such as requests to a service."""


def kinds() -> dict[str, Kind]:
    """All kinds of contenders, by name: the keys of ``CONTENDERS`` of every module of the package.

    Examples
    --------
    >>> kinds()["random"]
    Kind(module='evaluator.offline.contenders.simple', says='A random order, the same for the same case whatever ...')
    """
    return _listed("CONTENDERS")


def _listed(mapping: str) -> dict[str, Kind]:
    """The keys of a mapping at the top of the package's modules, without importing them."""
    names = sorted(one.name for one in pkgutil.iter_modules(contenders.__path__))
    modules = [f"{contenders.__name__}.{name}" for name in names]
    return {key: Kind(module, says) for module in modules for key, says in _entries(module, mapping)}


@cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    source = None if spec is None or spec.loader is None else spec.loader.get_source(module)  # type: ignore[attr-defined]
    return ast.parse(source or "")


def _entries(module: str, mapping: str) -> Iterator[tuple[str, str]]:
    """The keys of a mapping at the top of a module, and what the functions or classes that they name say.

    A mapping that is not written out is read by an import.
    """
    said = {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in _tree(module).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    for node in _tree(module).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if name == mapping:
                if isinstance(node.value, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.value.keys):
                    pairs = zip(map(ast.literal_eval, filter(None, node.value.keys)), node.value.values, strict=True)
                    yield from ((key, said.get(ast.unparse(value), "")) for key, value in pairs)
                else:
                    made = getattr(importlib.import_module(module), mapping)
                    yield from ((key, (make.__doc__ or "").partition("\n")[0]) for key, make in made.items())


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
    made: Make = importlib.import_module(known[kind].module).CONTENDERS[kind]
    return made


def require(name: str) -> None:
    """Check a contender's name, and what it is made of where the kind is among the ``CHECKS`` of a module.

    Raises
    ------
    ContenderError, models.weights.WeightsError, models.store.errors.StoreError
        When there is no such kind, folder, model or version.
    """
    kind, _, rest = name.partition(":")
    if kind not in (known := kinds()):
        raise ContenderError(f"There is no contender {name!r}; there are {', '.join(sorted(known))}.")
    if kind in (checks := _listed("CHECKS")):
        check: Check = importlib.import_module(checks[kind].module).CHECKS[kind]
        check(rest)


def parameter(text: str, default: float, least: float = 0.0) -> float:
    """The number after a kind's colon, as in ``popularity:30``; the default where there is none.

    Raises
    ------
    ContenderError
        When it is no finite number, or below the least one.

    Examples
    --------
    >>> parameter("30", 7.0), parameter("", 7.0)
    (30.0, 7.0)
    >>> parameter("abc", 7.0)
    Traceback (most recent call last):
    evaluator.offline.contenders.contender.ContenderError: 'abc' is no number from 0 up. Give one, ...
    """
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise ContenderError(f"{text!r} is no number from {least:g} up. Give one, or leave it and the colon out.")
    return value


def checked(scores: Iterable[npt.ArrayLike], cases: Sequence[Case]) -> list[Scores]:
    """Scores as float64, where there is one finite number for each candidate.

    Raises
    ------
    ContenderError
        Where there is not, with the case.

    Examples
    --------
    >>> case = Case("c", ("a", "b"), np.zeros(2))
    >>> checked([np.array([0, 2], np.uint8)], [case])[0].tolist()
    [0.0, 2.0]
    >>> checked([["high", "low"]], [case])
    Traceback (most recent call last):
    evaluator.offline.contenders.contender.ContenderError: gave scores that are no numbers for case c
    """
    parts = _each(scores, cases)
    for part, case in zip(parts, cases, strict=True):
        if part.shape != (len(case.items),):
            text = "gave scores of shape {shape} for the {count} items of case {case}"
            raise ContenderError(said(text, shape=str(part.shape), count=len(case.items), case=case.id))
        if not np.isfinite(part).all():
            raise ContenderError(said("gave a score that is no finite number for case {case}", case=case.id))
    return parts


def checked_chances(chances: Iterable[npt.ArrayLike], cases: Sequence[Case]) -> list[Scores]:
    """Probabilities of the intents as float64, where each candidate has four that sum to one.

    Raises
    ------
    ContenderError
        Where one has not, with the case.

    Examples
    --------
    >>> checked_chances([[[0.5, 0.25, 0.25, 0.25]]], [Case("c", ("a",), np.zeros(1))])
    Traceback (most recent call last):
    evaluator.offline.contenders.contender.ContenderError: gave probabilities that are none for case c
    """
    parts = _each(chances, cases)
    for part, case in zip(parts, cases, strict=True):
        if part.shape != (len(case.items), len(INTENTS)):
            text = "gave probabilities of shape {shape} for the {count} items of case {case}"
            raise ContenderError(said(text, shape=str(part.shape), count=len(case.items), case=case.id))
        if not ((part >= -ROUNDING).all() and (abs(part.sum(1) - 1) <= ROUNDING).all()):
            raise ContenderError(said("gave probabilities that are none for case {case}", case=case.id))
    return parts


def _each(found: Iterable[npt.ArrayLike], cases: Sequence[Case]) -> list[Scores]:
    """A list of numbers per case as float64, copied: the contender may use its arrays again."""
    try:
        some = list(found)
    except TypeError:
        raise ContenderError("gave no list of scores") from None
    if len(some) != len(cases):
        raise ContenderError(said("gave {got} lists of scores for {count} cases", got=len(some), count=len(cases)))
    return [_numbers(part, case) for part, case in zip(some, cases, strict=True)]


def _numbers(part: npt.ArrayLike, case: Case) -> Scores:
    try:
        values = np.asarray(part)
    except ValueError:  # rows of unlike lengths
        values = np.array([""])
    if values.size and values.dtype.kind not in "biuf":
        raise ContenderError(said("gave scores that are no numbers for case {case}", case=case.id))
    return np.array(values, np.float64)
