"""Finished online experiments of a store's versions, and offline evaluations of several of them: a small file each.

Each file is written once. Knows versions' ids, figures and a storage; nothing of how an experiment is run or judged.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from models.store import ids
from models.store.errors import StoreError
from models.store.manifest import When
from models.store.storage import Storage

FOLDER, EVALUATIONS = "experiments", "evaluations"

Kind = Literal["canary", "interleaving"]

Ended = Literal["promoted", "rolled_back", "given_up", "stopped"]
"""How an experiment ended; ``stopped`` is by hand."""

Better = Literal["higher", "lower"]

Version = Annotated[str, msgspec.Meta(pattern=rf"^({ids.PATTERN.pattern})?$")]
"""A version's id; empty for the untrained weights."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One offline measure of both versions, on the same cases.

    Attributes
    ----------
    segment
        The part of the cases that it is of, such as ``perturbation: typo, strength 1``; empty for all.
    source
        What measured it: ``gate``, or ``evaluation`` for a run of ``liveshelf evaluate``.
    difference
        The challenger's figure less the champion's; ``low`` and ``high`` are its interval where it is known.
    champion, challenger
        Both figures, where they are known.
    """

    measure: str
    segment: str = ""
    source: Literal["gate", "evaluation"]
    better: Better
    difference: float
    low: float | None = None
    high: float | None = None
    champion: float | None = None
    challenger: float | None = None


class Arm(msgspec.Struct, frozen=True):
    """What shoppers saw of one arm, and clicked. Of an interleaving: shelves, and those that the model won."""

    impressions: int
    clicks: int


class Online(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an experiment.

    Attributes
    ----------
    difference, low, high
        The challenger's click rate less the champion's, with its 95 % interval.
    log_ratio, error
        The logarithm of the ratio of both rates, and its standard error, with the dispersion between shoppers.
    log10_evalue
        Evidence that the rates differ, valid at every look: 1.3 is odds of 20 to 1.
    """

    champion: Arm
    challenger: Arm
    difference: float
    low: float
    high: float
    log_ratio: float
    error: float
    log10_evalue: float


class FinishedExperiment(msgspec.Struct, frozen=True, kw_only=True):
    """A canary or an interleaving that has ended.

    Attributes
    ----------
    share
        The share of the shoppers that the challenger had.
    ended, reason
        How it ended, and why in words.
    online
        None where no impression was counted.
    offline
        Empty where no offline figures of both versions are known.
    """

    kind: Kind
    champion: Version
    challenger: Version
    begun_at: When
    ended_at: When
    share: float
    ended: Ended
    reason: str
    online: Online | None = None
    offline: tuple[Figure, ...] = ()


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of several versions, by their ids."""

    measure: str
    better: Better
    values: dict[str, float]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of ``liveshelf evaluate`` found of versions of this store.

    Attributes
    ----------
    data, fingerprint
        The name of its data, and a hash of it: figures of other data do not compare.
    """

    data: str
    fingerprint: str
    made_at: When
    measures: tuple[Evaluated, ...]

    def figures(self, champion: str, challenger: str) -> list[Figure]:
        """The measures that both versions have.

        Examples
        --------
        >>> one = Evaluated(measure="ndcg@10", better="higher", values={"a": 0.5, "b": 0.75})
        >>> made = Evaluation(data="dev", fingerprint="0", made_at=datetime.now(UTC), measures=(one,))
        >>> [figure.difference for figure in made.figures(champion="a", challenger="b")], made.figures("a", "c")
        ([0.25], [])
        """
        return [
            Figure(
                measure=one.measure,
                source="evaluation",
                better=one.better,
                difference=one.values[challenger] - one.values[champion],
                champion=one.values[champion],
                challenger=one.values[challenger],
            )
            for one in self.measures
            if champion in one.values and challenger in one.values
        ]


T = TypeVar("T")


class Experiments:
    """The finished experiments of a store. In a local store two writers take turns, and the first one's record stays;
    elsewhere the last of two concurrent ones does, whole.

    Examples
    --------
    >>> from models.store.storage import connect
    >>> experiments, at = Experiments(connect("memory://experiments-example")), datetime(2026, 11, 24, tzinfo=UTC)
    >>> one = FinishedExperiment(
    ...     kind="canary", champion="", challenger="20261124-153000-head-1a2b3c4d", begun_at=at, ended_at=at, share=0.1,
    ...     ended="promoted", reason="better")
    >>> experiments.record(one).ended, experiments.record(msgspec.structs.replace(one, ended="given_up")).ended
    ('promoted', 'promoted')
    >>> experiments.find("canary", one.challenger, at) == one, experiments.get() == ([one], [])
    (True, True)
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def record(self, one: FinishedExperiment) -> FinishedExperiment:
        """Keep an experiment; returns what is kept: the same experiment is recorded once, and the first record stays.

        Raises
        ------
        StoreError, OSError
            When the store cannot be written or the record cannot be read.
        """
        path = _path(one.kind, one.challenger, one.begun_at)
        with self.storage.locked():
            if (kept := self._read(path, FinishedExperiment)) is not None:
                return kept
            self.storage.write(path, _encode(one))
        return one

    def find(self, kind: Kind, challenger: str, begun_at: datetime) -> FinishedExperiment | None:
        """The record of an experiment, None where there is none.

        Raises
        ------
        StoreError, OSError
            When it cannot be read.
        """
        return self._read(_path(kind, challenger, begun_at), FinishedExperiment)

    def get(self) -> tuple[list[FinishedExperiment], list[str]]:
        """All experiments, the oldest first, and why files could not be read. The figures of evaluations are added."""
        found, problems = self._all(FOLDER, FinishedExperiment)
        evaluations, more = self.evaluations()
        return [_with_figures(one, evaluations) for one in found], problems + more

    def keep(self, one: Evaluation) -> None:
        """Keep an evaluation; the same one is kept once.

        Raises
        ------
        OSError
            When the store cannot be written.
        """
        versions = sorted({version for measure in one.measures for version in measure.values})
        name = hashlib.sha256(msgspec.json.encode([one.fingerprint, versions])).hexdigest()[:12]
        self.storage.write(f"{EVALUATIONS}/{one.made_at.astimezone(UTC):%Y%m%d-%H%M%S}-{name}.json", _encode(one))

    def evaluations(self) -> tuple[list[Evaluation], list[str]]:
        """All evaluations, the oldest first, and why files could not be read."""
        return self._all(EVALUATIONS, Evaluation)

    def _all(self, folder: str, kind: type[T]) -> tuple[list[T], list[str]]:
        found, problems = [], []
        for name in self.storage.children(folder):
            try:
                one = self._read(f"{folder}/{name}", kind) if name.endswith(".json") else None
            except (StoreError, OSError) as error:
                problems.append(str(error))
            else:
                found += [] if one is None else [one]
        return found, problems

    def _read(self, path: str, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode(self.storage.read(path), type=kind)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise StoreError(f"{self.storage.path(path)} cannot be read: {error}. Delete it.") from error


def _with_figures(one: FinishedExperiment, evaluations: list[Evaluation]) -> FinishedExperiment:
    """The experiment with the newest figure that evaluations have of each measure."""
    known: Mapping[str, Figure] = {
        figure.measure: figure for made in evaluations for figure in made.figures(one.champion, one.challenger)
    }
    return msgspec.structs.replace(one, offline=(*one.offline, *known.values()))


def _path(kind: Kind, challenger: str, begun_at: datetime) -> str:
    at = begun_at.astimezone(UTC)
    return f"{FOLDER}/{at:%Y%m%d-%H%M%S}-{at.microsecond:06}-{kind}-{ids.checked(challenger)}.json"


def _encode(one: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(one), indent=2) + b"\n"
