"""A run's training dataset: labelled examples with their texts and weights, split in three by time.

The oldest are for training, newer ones for calibration, the newest for the gate. A view has one time, so no view is
split. Ignored items are weighted by the propensity of their position. Pure but for the archive it reads.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from evaluator.attribution.example import LabelledExample
from evaluator.attribution.labels import Context, example
from evaluator.metrics.position_bias import PositionBiasModel
from evaluator.retraining.config import LearningConfig
from evaluator.retraining.served_feeds import looked_at, served_feeds
from evaluator.retraining.store.archive import Archive
from models.training.examples import Example, ExamplesError
from models.training.rehearsal import rehearse
from models.training.served_feeds import FeedSlices


def weighed(examples: Sequence[Example], positions: PositionBiasModel) -> list[Example]:
    """The examples, with each ``ignore`` weighted by its position's propensity.

    Where one in five shoppers looks at a position, four of five have not ignored anything there. In the position-based
    model an item of attraction ``r`` is clicked at position ``k`` with probability ``theta(k) r``. So the log
    likelihood of a click is ``log r`` plus a constant. That of no click is ``log(1 - theta(k) r)``, which for rare
    clicks is ``theta(k) log(1 - r)``. This is a cross-entropy in which clicks have weight one and the others
    their propensity. Inverse weights on the clicks (Joachims et al. 2017) have the same aim and far more variance.

    Examples
    --------
    >>> positions = PositionBiasModel()
    >>> for place, clicks in ((0, 40), (1, 10)):
    ...     positions.update("tv", "a", place, clicks, 100)
    >>> shown = [Example(query="tv", item="a", intent=intent, position=1) for intent in ("look", "ignore")]
    >>> [round(one.weight, 2) for one in weighed(shown, positions)]
    [1.0, 0.25]
    """
    return [
        msgspec.structs.replace(one, weight=one.weight / positions.weight(one.position))
        if one.intent == "ignore" and one.position is not None
        else one
        for one in examples
    ]


class Slices(NamedTuple):
    """Examples, sorted by time."""

    train: Sequence[LabelledExample]
    calibrate: Sequence[LabelledExample]
    gate: Sequence[LabelledExample]


def slices(examples: Sequence[LabelledExample], config: LearningConfig) -> Slices:
    """Split examples that are sorted by time.

    Examples
    --------
    >>> examples = [LabelledExample(id=f"{ts}{item}", ts=ts, shopper="u", item_id=item, shelf_id="s", surface="",
    ...     position=0, intent="look") for ts in range(10) for item in "ab"]
    >>> [len(some) for some in slices(examples, LearningConfig())]
    [14, 2, 4]

    Raises
    ------
    ExamplesError
        When there are too few moments to make three slices.
    """
    views = [view[0] for view, _ in groupby(examples, lambda one: (one.ts, one.shopper, one.shelf_id))]
    gate = max(1, min(int(config.gate_share * len(views)), config.gate_views))
    aside = gate + max(1, int(config.calibration_share * len(views)))
    if aside >= len(views):
        raise ExamplesError(f"{len(views):,} views are too few to train on, to calibrate and to judge by")
    first, second = (next(place for place, one in enumerate(examples) if one.ts >= views[-n]) for n in (aside, gate))
    if not 0 < first < second:
        raise ExamplesError(f"{len(views):,} views of so few moments cannot be parted by time")
    return Slices(examples[:first], examples[first:second], examples[second:])


END = 1 << 62


class TrainingDataset(msgspec.Struct, frozen=True, kw_only=True):
    """Three slices of examples; ``train`` includes older ones for rehearsal.

    ``rehearsed`` is how many of these there are, ``without_text`` how many examples were left out because the
    text of their item or context is unknown. ``since`` and ``until`` are the times of the first and the last example
    to train on, ``through`` is that of the newest of all slices (epoch ms). ``feeds`` are the feeds among the recent
    examples, in the same slices of time, also those that have no query and no history.
    """

    train: list[Example]
    calibrate: list[Example]
    gate: list[Example]
    rehearsed: int
    without_text: int
    since: int
    until: int
    through: int
    feeds: FeedSlices = FeedSlices()


def recent(archive: Archive, config: LearningConfig, since: int = 0) -> list[LabelledExample]:
    """The newest examples, sorted by time: none from before ``since``, none older than the window, not too many."""
    newest, enough = archive.newest() or 0, archive.back(END, config.most_examples) or 0
    some = archive.read(max(since, newest - int(config.window_s * 1_000), enough), END)
    return list(deque(some, maxlen=config.most_examples))  # several may have the first time


def training_dataset(
    some: Sequence[LabelledExample],
    older: Iterable[LabelledExample],
    text: Callable[[str], str | None],
    config: LearningConfig,
    seed: int = 0,
) -> TrainingDataset:
    """Slices of recent examples that are sorted by time, with older ones added to those to train on.

    Parameters
    ----------
    text
        Returns an item's text; None for an item that was removed.

    Raises
    ------
    ExamplesError
        When a slice would be empty.
    """
    pairs = [(one, _example(one, text)) for one in some]
    cut = slices([one for one, found in pairs if found], config)
    examples = [one for _, one in pairs if one]
    first, second = len(cut.train), len(cut.train) + len(cut.calibrate)
    # Calibration and gate use unweighted examples: their probabilities are those of clicks at any position.
    train = weighed(examples[:first], _positions(cut.train)) if config.debias else examples[:first]
    again = rehearse(train, [one for old in older if (one := _example(old, text))], config.rehearsal, seed)
    return TrainingDataset(
        train=again,
        calibrate=examples[first:second],
        gate=examples[second:],
        rehearsed=len(again) - first,
        without_text=len(pairs) - len(examples),
        since=cut.train[0].ts,
        until=cut.train[-1].ts,
        through=cut.gate[-1].ts,
        feeds=_feeds(some, cut, text, config.debias),
    )


def _feeds(some: Sequence[LabelledExample], cut: Slices, text: Callable[[str], str | None], debias: bool) -> FeedSlices:
    bounds = [bisect_left(some, part[0].ts, key=lambda one: one.ts) for part in (cut.calibrate, cut.gate)]
    parts = some[: bounds[0]], some[bounds[0] : bounds[1]], some[bounds[1] :]
    looked = looked_at(parts[0]) if debias else []
    train, calibrate, gate = (list(served_feeds(part, text, looked)) for part in parts)
    return FeedSlices(train=train, calibrate=calibrate, gate=gate)


def _example(one: LabelledExample, text: Callable[[str], str | None]) -> Example | None:
    context = Context(one.query, tuple(one.history), tuple(one.asked), tuple(one.weights))
    found = example(one, context, text)
    return found and msgspec.structs.replace(found, popularity=one.popularity)


def _positions(some: Iterable[LabelledExample]) -> PositionBiasModel:
    positions = PositionBiasModel()
    for one in some:
        positions.update(one.query or one.shopper, one.item_id, one.position, one.intent != "ignore")
    return positions
