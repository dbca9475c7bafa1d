"""Figures of a contender beside the reference's, and thresholds that they have to keep, also as a TOML file.

Pure but for reading a file; knows nothing of how figures are made. Quality must be *shown*: then the whole interval has
to keep a bound (``by = "interval"``). A budget must not be shown *broken*: then it is enough that the better end of the
interval keeps it (``by = "better_end"``).
"""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import msgspec

from evaluator.message import Text

EXAMPLE = """[[threshold]]
measure = "ndcg@10"
min = 0.9"""

Outcome = Literal["passed", "failed", "missing", "too_few"]

CHAMPION, CHALLENGER = "champion", "challenger"
"""What the trainer's gate calls the reference and the contender."""

POWER = 0.8
"""Probability that large enough data shows the change looked for."""


class GateFileError(ValueError):
    """A gate file that cannot be used; the message names the file, the place in it, and what to write instead."""


class Figure(msgspec.Struct, kw_only=True):
    """One contender's figure of one measure, and its difference from the reference's; None where it is undefined.

    Attributes
    ----------
    measure, segment
        Its name, as in :mod:`models.measures.names`, and of what; an empty segment is all cases.
    unit
        Empty for a plain number; else such as ``ms``.
    low, high, difference_low, difference_high
        Bounds of the intervals.
    reference
        The reference's figure.
    difference
        Of two distributions, which have no value, it is their total variation.
    count, counted
        From how many cases, shoppers, queries or calls it is, and which of these.
    note
        What a reader has to know of it.
    """

    measure: str
    segment: str = ""
    dimension: str = ""
    contender: str = CHALLENGER
    unit: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    count: int = 0
    counted: str = "cases"
    note: Text = ""

    @property
    def name(self) -> str:
        """The measure and its segment."""
        return f"{self.measure} ({self.segment})" if self.segment else self.measure


class Limit(NamedTuple):
    """A bound of a threshold: its name in the file, what it bounds, and on which side."""

    name: str
    of: Literal["value", "difference", "ratio"]
    upper: bool
    sign: str


LIMITS = (
    Limit("min", "value", False, "≥"),
    Limit("max", "value", True, "≤"),
    Limit("difference_min", "difference", False, "≥"),
    Limit("difference_max", "difference", True, "≤"),
    Limit("difference_below", "difference", True, "<"),
    Limit("ratio_max", "ratio", True, "≤"),
)


class Threshold(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a figure must keep, or its difference from the reference's.

    Attributes
    ----------
    contender
        A pattern such as ``version:*``; ``*`` is all.
    segment
        A pattern such as ``query: *``; empty is the figure of all cases.
    min, max
        Bounds of the figure itself.
    difference_min, difference_max, difference_below
        Bounds of its difference from the reference's; ``difference_below`` itself is not kept. The reference is not
        asked.
    ratio_max
        Bound of the figure over the reference's. Its interval is that of the difference.
    by
        What has to keep them: the ``value``; the whole ``interval``; or its ``better_end``, so that a bound is broken
        only where that is sure.
    enough_for
        A change for the better, as a share of the reference's figure, that the data must be able to show in four of
        five cases. Where it is too small for that, the outcome is ``too_few`` and not ``failed``.
    optional
        Passes where there is no figure to check.
    """

    measure: str
    contender: str = "*"
    segment: str = ""
    dimension: str = "*"
    min: float | None = None
    max: float | None = None
    difference_min: float | None = None
    difference_max: float | None = None
    difference_below: float | None = None
    ratio_max: float | None = None
    by: Literal["value", "interval", "better_end"] = "value"
    enough_for: float | None = None
    optional: bool = False

    @property
    def limits(self) -> list[tuple[Limit, float]]:
        """The bounds that are given."""
        return [(limit, bound) for limit in LIMITS if (bound := getattr(self, limit.name)) is not None]

    @property
    def relative(self) -> bool:
        """Whether it bounds nothing but the difference from the reference."""
        return all(limit.of != "value" for limit, _ in self.limits)

    def matches(self, figure: Figure) -> bool:
        """Whether it asks something of a figure."""
        return (
            figure.measure == self.measure
            and fnmatchcase(figure.segment, self.segment)
            and fnmatchcase(figure.dimension, self.dimension)
        )

    def words(self, segment: str | None = None) -> str:
        """In short, such as ``ndcg@10 (query: tail) min 0.9``."""
        part = self.segment if segment is None else segment
        limits = " ".join(f"{limit.name} {bound:g}" for limit, bound in self.limits)
        by = "" if self.by == "value" else f" by {self.by}"
        return f"{self.measure}{f' ({part})' if part else ''} {limits}{by}"


class GateFile(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that is asked of a run.

    Attributes
    ----------
    max_severity
        Findings of a higher severity fail; None lets all pass.
    severity_of
        A pattern of the contenders whose findings count, such as ``version:*``; ``*`` is all.
    least_shoppers, least_queries
        With fewer of them in the data nothing is decided.
    """

    max_severity: float | None = None
    severity_of: str = "*"
    least_shoppers: int = 0
    least_queries: int = 0
    threshold: list[Threshold] = []

    def toml(self) -> str:
        """As a file that :func:`read` reads.

        Examples
        --------
        >>> print(GateFile(threshold=[Threshold(measure="mrr", min=0.5)]).toml())
        [[threshold]]
        measure = "mrr"
        min = 0.5
        <BLANKLINE>
        """
        tables: dict[str, Any] = msgspec.to_builtins(self)
        thresholds = tables.pop("threshold", [])
        parts = [_lines(tables)] if tables else []
        return "\n".join([*parts, *(f"[[threshold]]\n{_lines(one)}" for one in thresholds)])


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in table.items())


class Check(msgspec.Struct, kw_only=True, frozen=True):
    """One thing that was asked of one contender, and how it is.

    Attributes
    ----------
    asked
        The threshold in short.
    outcome
        ``missing`` where there is no figure to check, ``too_few`` where the data is too small; neither passes.
    said
        The figures in words.
    needed
        How many shoppers, or whatever is counted, a decision takes where there are too few.
    """

    contender: str = CHALLENGER
    measure: str = ""
    segment: str = ""
    asked: str
    outcome: Outcome
    said: str
    needed: int | None = None


def read(path: Path) -> GateFile:
    """The thresholds of a file.

    Raises
    ------
    GateFileError
        When it is not there, is no TOML, asks nothing, or names what does not exist.
    """
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise GateFileError(f"{path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise GateFileError(f"{path} is no TOML: {error}. A threshold looks like this:\n{EXAMPLE}") from error
    try:
        found = msgspec.convert(given, GateFile)
    except msgspec.ValidationError as error:
        fields = ", ".join(Threshold.__struct_fields__)
        raise GateFileError(f"{path}: {error}. A [[threshold]] may have {fields}.") from error
    if not found.threshold and found.max_severity is None:
        raise GateFileError(f"{path} has no [[threshold]]. One looks like this:\n{EXAMPLE}")
    if found.max_severity is not None and math.isnan(found.max_severity):
        raise GateFileError(f"{path}: max_severity is no number. Give one from 0 to 1.")
    if found.least_shoppers < 0 or found.least_queries < 0:
        raise GateFileError(f"{path}: least_shoppers and least_queries are counts. Give numbers from 0 up.")
    for number, one in enumerate(found.threshold, 1):
        where = f"{path}: threshold {number} ({one.measure})"
        if not one.limits:
            names = [limit.name for limit in LIMITS]
            raise GateFileError(f"{where} has no bound: give {', '.join(names[:-1])} or {names[-1]}.")
        if any(math.isnan(bound) for _, bound in one.limits):
            raise GateFileError(f"{where} has a bound that is no number.")
    return found


def checked(asked: Threshold, figure: Figure, *, reference: str, confidence: float = 0.95) -> Check:
    """Whether a figure keeps a threshold.

    Parameters
    ----------
    reference
        The name of the reference, for the sentence. Where the figure is its own, only bounds of the figure are asked.
    confidence
        That of the figure's intervals.

    Examples
    --------
    >>> figure = Figure(measure="mrr", value=0.52, reference=0.5, difference=0.02, difference_low=-0.01,
    ...     difference_high=0.05, count=100)
    >>> checked(Threshold(measure="mrr", difference_min=0.0, by="interval"), figure, reference="champion").said
    'mrr: champion 0.5000, challenger 0.5200, difference +0.0200 (-0.0100 to +0.0500); not all of it is ≥ 0'
    >>> checked(Threshold(measure="mrr", ratio_max=1.1, by="better_end"), figure, reference="champion").outcome
    'passed'
    """
    outcomes: set[Outcome] = set()
    more: list[int] = []
    broken = []
    for limit, bound in asked.limits:
        if limit.of != "value" and figure.contender == reference:
            continue
        found = _ends(figure, limit.of)
        wanted = found[:1] if asked.by == "value" else found
        if any(one is None for one in wanted):
            outcomes.add("passed" if asked.optional else "too_few" if asked.enough_for is not None else "missing")
            broken.append(f"there is no {limit.of if asked.by == 'value' else f'interval of its {limit.of}'}")
            continue
        ends = sorted((one for one in wanted if one is not None), reverse=limit.upper)
        judged = {"value": found[0], "interval": ends[0], "better_end": ends[-1]}[asked.by]
        if _keeps(judged, limit, bound):
            outcomes.add("passed")
            continue
        all_of = {"value": "it is not", "interval": "not all of it is", "better_end": "none of it is"}[asked.by]
        broken.append(f"{'as a ratio ' if limit.of == 'ratio' else ''}{all_of} {limit.sign} {bound:g}")
        count = _needed(asked, figure, limit, bound, confidence) if _keeps(ends[-1], limit, bound) else 0
        outcomes.add("too_few" if count > figure.count else "failed")
        more += [count] if count > figure.count else []
    outcome = next(one for one in ("failed", "missing", "too_few", "passed") if one in outcomes or one == "passed")
    if outcome == "too_few" and more:
        broken.append(f"{max(more):,} {figure.counted} would decide it")
    return Check(
        contender=figure.contender,
        measure=figure.measure,
        segment=figure.segment,
        asked=asked.words(figure.segment),
        outcome=outcome,
        said="; ".join([_told(asked, figure, reference), *broken]),
        needed=max(more, default=None) if outcome == "too_few" else None,
    )


def _ends(figure: Figure, of: str) -> list[float | None]:
    """The figure itself, then the ends of its interval."""
    if of == "value":
        return [figure.value, figure.low, figure.high]
    ends = [figure.difference, figure.difference_low, figure.difference_high]
    if of == "difference":
        return ends
    if not figure.reference:
        return [None, None, None]
    return [None if one is None else 1 + one / figure.reference for one in ends]


def _keeps(value: float | None, limit: Limit, bound: float) -> bool:
    assert value is not None
    match limit.sign:
        case "≥":
            return value >= bound
        case "≤":
            return value <= bound
    return value < bound


def _needed(asked: Threshold, figure: Figure, limit: Limit, bound: float, confidence: float) -> int:
    """How many groups show the change that the data should be enough for; 0 where that is not asked, or none would."""
    if asked.enough_for is None or asked.by != "interval" or limit.of == "value":
        return 0
    level = abs(figure.reference or 0.0)
    wanted = (-1 if limit.upper else 1) * asked.enough_for * level
    distance = abs((bound - 1) * level - wanted if limit.of == "ratio" else bound - wanted)
    return needed((figure.difference_low or 0.0, figure.difference_high or 0.0), figure.count, distance, confidence)


def needed(ends: tuple[float, float], count: int, distance: float, confidence: float = 0.95) -> int:
    """How many groups it takes until an interval excludes a bound at this distance from the true value, with
    probability :data:`POWER`; 0 where no number of them does.

    Parameters
    ----------
    ends, count
        Of an interval from so many groups.

    Examples
    --------
    >>> needed((-0.0196, 0.0196), 100, 0.028)
    101
    """
    normal = NormalDist()
    z = normal.inv_cdf((1 + confidence) / 2)
    error = (ends[1] - ends[0]) / (2 * z)
    return math.ceil(count * (error * (z + normal.inv_cdf(POWER)) / distance) ** 2) if distance else 0


def _told(asked: Threshold, figure: Figure, reference: str) -> str:
    """A figure in words: beside the reference's where the difference is asked."""
    said, unit = figure.name, f" {figure.unit}" if figure.unit else ""
    if asked.relative:
        if figure.value is not None and figure.reference is not None:
            said += f": {reference} {figure.reference:.4f}{unit}, {figure.contender} {figure.value:.4f}{unit}"
        if figure.difference is not None:
            said += f"{',' if figure.value is not None else ':'} difference {figure.difference:+.4f}"
            said += _range(figure.difference_low, figure.difference_high, "+")
    elif figure.value is not None:
        said += f": {figure.value:.4f}{unit}{_range(figure.low, figure.high, '')}"
    return f"{said}, {figure.note}" if figure.note and asked.relative else said


def _range(low: float | None, high: float | None, sign: str) -> str:
    return "" if low is None or high is None else f" ({low:{sign}.4f} to {high:{sign}.4f})"


def passed(checks: Sequence[Check]) -> bool:
    """Whether everything that was asked is so."""
    return all(one.outcome == "passed" for one in checks)
