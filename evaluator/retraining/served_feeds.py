"""Labelled examples of feeds as whole feeds again: what was ranked, in which order it was seen, and what followed.

Pure: takes examples and texts. Knows what features are called; nothing of what is learned from them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np

from evaluator.attribution.example import LabelledExample
from evaluator.attribution.labels import past_of
from evaluator.metrics.position_bias import PositionBiasModel
from models.training.examples import LEVELS
from models.training.served_feeds import ServedFeed
from streams.ranking.ranked_rows import features

FEED = "feed"


def looked_at(examples: Iterable[LabelledExample]) -> list[float]:
    """How often each place of a feed is looked at, beside the first one. Shoppers see some items at several places of
    their feeds, which tells it."""
    positions = PositionBiasModel()
    for one in examples:
        if one.surface == FEED and one.ranked is not None:
            positions.update(one.shopper, one.item_id, one.position, one.intent != "ignore")
    return positions.cautious()


def served_feeds(
    examples: Iterable[LabelledExample],
    text: Callable[[str], str | None],
    looked: Sequence[float] = (),
) -> Iterator[ServedFeed]:
    """The feeds in which something was touched, given all examples in order of time.

    Parameters
    ----------
    text
        Returns an item's text; None for an item that was removed, which is left out.
    looked
        How often each place is looked at, beside the first one; places after the last count as it does.
    """
    for _, group in groupby(examples, key=lambda one: (one.ts, one.shopper, one.shelf_id)):
        some = sorted((one for one in group if one.surface == FEED), key=lambda one: one.position)
        if any(one.intent != "ignore" for one in some) and (found := _feed(some, text, looked or (1.0,))) is not None:
            yield found


def _feed(
    some: Sequence[LabelledExample], text: Callable[[str], str | None], looked: Sequence[float]
) -> ServedFeed | None:
    seen, others = [], []
    unshown = bought = 0
    for one in some:
        if one.ranked is None or (rows := features(one.ranked)) is None or len(rows) != 1 + len(one.ranked.others):
            continue  # of another release, or not ranked by behaviour
        unshown, bought = one.ranked.unshown, one.ranked.bought
        if found := text(one.item_id):
            seen.append((one, found, rows[0]))
        for item, demand, row in zip(one.ranked.others, one.ranked.popularity, rows[1:], strict=True):
            if found := text(item):
                others.append((found, demand, row))
    if not any(one.intent != "ignore" for one, _, _ in seen):
        return None
    first = seen[0][0]
    past = past_of(first.history, first.asked, first.weights, text)
    values = np.stack([*(row for _, _, row in seen), *(row for _, _, row in others)])
    return ServedFeed(
        shopper=first.shopper,
        values=values.astype("<f2").tobytes(),
        items=(*(found for _, found, _ in seen), *(found for found, _, _ in others)),
        levels=tuple(LEVELS[one.intent] for one, _, _ in seen),
        looked=tuple(looked[min(one.position, len(looked) - 1)] for one, _, _ in seen),
        popularity=(*(one.popularity for one, _, _ in seen), *(demand for _, demand, _ in others)),
        unshown=unshown,
        bought=bought,
        history=past.items,
        asked=past.queries,
        weights=past.weights,
    )
