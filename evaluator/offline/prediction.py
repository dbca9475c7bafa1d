"""Does offline predict online? What a run gives to a store's history, and what that history shows.

Knows contenders' names and a model store; the statistics are in `agreement`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from evaluator.offline.agreement import LEAST, Agreement, agreements
from evaluator.offline.summary import Summary
from models.store import ModelStore
from models.store.experiments import Evaluated, Evaluation, FinishedExperiment

KIND = "version"
"""The kind of contenders that are versions of a store."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the finished experiments of a store show.

    Attributes
    ----------
    problems
        Why files of the store could not be read.
    """

    experiments: Sequence[FinishedExperiment]
    agreements: Sequence[Agreement]
    problems: Sequence[str] = ()

    @property
    def usable(self) -> int:
        """How many experiments have an online result and offline figures of both versions."""
        return sum(one.online is not None and bool(one.offline) for one in self.experiments)

    @property
    def enough(self) -> bool:
        """Whether there are enough experiments to claim anything."""
        return any(one.groups >= LEAST for one in self.agreements)


def of_store(store: ModelStore) -> Prediction:
    """What a store's history shows."""
    experiments, problems = store.experiments.get()
    return Prediction(experiments, agreements(experiments), problems)


def versions(contenders: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The contenders that are versions of a store: its URL, and the version's name there.

    Examples
    --------
    >>> versions(["bm25", "version:s3://shop/models#champion"])
    {'version:s3://shop/models#champion': ('s3://shop/models', 'champion')}
    """
    found = {}
    for name in contenders:
        kind, _, rest = name.partition(":")
        if kind == KIND:
            store, _, version = rest.rpartition("#")
            found[name] = (store, version)
    return found


def evaluation(
    summary: Summary, ids: Mapping[str, str], data: str, fingerprint: str, made_at: datetime
) -> Evaluation | None:
    """What a run found of versions of one store; None where it has figures of fewer than two.

    Parameters
    ----------
    ids
        The versions' ids by the contenders' names.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in summary.rows:
        if row.contender in ids and not row.segment and row.value is not None and row.better is not None:
            one = found.setdefault((row.dimension, row.measure), {"better": row.better, "values": {}})
            one["values"][ids[row.contender]] = row.value
    measures = [
        msgspec.convert({"measure": measure} | one, Evaluated)
        for (_, measure), one in found.items()
        if len(one["values"]) > 1
    ]
    if not measures:
        return None
    return Evaluation(data=data, fingerprint=fingerprint, made_at=made_at, measures=tuple(measures))
