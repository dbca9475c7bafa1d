"""Several runs over time: every contender's figures run by run, and what changed with the last one.

Knows the files that runs leave; nothing of how they are shown. Runs of the same cases are compared in pairs, for they
were resampled by the same draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from evaluator.offline import run as runs
from evaluator.offline.dimensions.dimension import optional
from evaluator.offline.report.provenance import Provenance
from evaluator.offline.report.provenance import read as read_provenance
from evaluator.offline.resampling import compare, holm
from evaluator.offline.run import SPEC
from evaluator.offline.spec import Spec
from evaluator.offline.summary import EFFECT, SURE, Row, Summary, numbers
from evaluator.preparation.tables import DataError


@dataclass(frozen=True, slots=True)
class Past:
    """A run that was made."""

    name: str
    folder: Path
    spec: Spec
    summary: Summary
    made: Provenance

    @property
    def cases(self) -> tuple[object, ...]:
        """Equal for runs of the same cases and the same draws."""
        columns = tuple(sorted(self.spec.columns.items()))
        return (self.made.fingerprint, self.spec.task, columns, self.spec.limit, self.spec.seed, self.spec.draws)


@dataclass(slots=True)
class Series:
    """One measure of one contender, run by run; None where a run has no figure.

    Attributes
    ----------
    change, p
        The last figure less the one before; the p-value is corrected for all changes of all contenders, and None
        where the two runs are not of the same cases.
    """

    contender: str
    measure: str
    dimension: str
    unit: str
    better: str | None
    rows: list[Row | None]
    change: float | None = None
    p: float | None = None

    @property
    def sure(self) -> bool:
        """Whether the last change is significant."""
        return self.p is not None and self.p < SURE

    @property
    def last_two(self) -> tuple[Row, Row] | None:
        """The last figures, where both of the last two runs have one."""
        if len(self.rows) < 2 or self.rows[-1] is None or self.rows[-2] is None:
            return None
        return self.rows[-2], self.rows[-1]


@dataclass(frozen=True, slots=True)
class History:
    """Runs from the oldest to the newest, and all measures that more than one of them has.

    Attributes
    ----------
    same
        Whether all runs are of the same cases.
    """

    runs: list[Past]
    series: list[Series]
    same: bool

    @property
    def headline(self) -> str:
        """The measure that decides who wins in the newest run."""
        return self.runs[-1].summary.headline

    @property
    def headlines(self) -> list[Series]:
        """Every contender's headline measure."""
        return [one for one in self.series if one.measure == self.headline and one.dimension == EFFECT]


def read(folders: Sequence[Path]) -> list[Past]:
    """Runs by their folders, oldest first.

    Raises
    ------
    DataError
        When a folder holds no finished run.
    """
    if len(set(folders)) < 2:
        raise DataError("Give the folders of at least two runs to compare.")
    found = []
    for folder in dict.fromkeys(folders):
        made = read_provenance(folder)
        if made is None or not (folder / "summary.json").is_file():
            raise DataError(f"{folder} holds no finished evaluation: it has no summary.json and provenance.json.")
        try:
            summary = msgspec.json.decode((folder / "summary.json").read_bytes(), type=Summary)
            spec = msgspec.json.decode((folder / SPEC).read_bytes(), type=Spec)
        except (OSError, msgspec.MsgspecError) as error:
            raise DataError(f"{folder} holds an evaluation that cannot be read: {error}.") from error
        found.append(Past(folder.resolve().name, folder, spec, summary, made))
    return sorted(found, key=lambda past: past.made.made_at)


def history(past: Sequence[Past]) -> History:
    """Every measure of every contender over runs, and the last changes."""
    keys = dict.fromkeys(
        (row.contender, row.dimension, row.measure) for one in past for row in one.summary.rows if not row.segment
    )
    tables = [{(row.contender, row.dimension, row.measure): row for row in whole(one.summary)} for one in past]
    found = []
    for contender, dimension, measure in keys:
        rows = [table.get((contender, dimension, measure)) for table in tables]
        known = [row for row in rows if row is not None and row.value is not None]
        if len(known) > 1:
            found.append(Series(contender, measure, dimension, known[0].unit, known[0].better, rows))
    _changes(past, found)
    return History(list(past), found, len({one.cases for one in past}) == 1)


def whole(summary: Summary) -> list[Row]:
    """The figures over all cases."""
    return [row for row in summary.rows if not row.segment]


def _changes(past: Sequence[Past], series: Sequence[Series]) -> None:
    before, last = past[-2:]
    paired = before.cases == last.cases
    kept = [
        {
            (name, one.dimension, one.measure): one.replicates
            for name in dict.fromkeys(series.contender for series in series)
            for part in runs.collected(one_run.spec, one_run.folder, name).parts.values()
            for one in part.readings
            if not one.segment and one.replicates
        }
        if paired
        else {}
        for one_run in (before, last)
    ]
    tested, p_values = [], []
    for one in series:
        if one.last_two is None:
            continue
        old, new = one.last_two
        if old.value is not None and new.value is not None:
            one.change = new.value - old.value
        key = (one.contender, one.dimension, one.measure)
        if all(key in some for some in kept):
            tested.append(one)
            p_values.append(compare(numbers(kept[1][key]), numbers(kept[0][key])).p)
    for one, p in zip(tested, holm(p_values), strict=True):
        one.p = optional(p)
