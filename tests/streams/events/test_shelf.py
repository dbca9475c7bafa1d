"""Shelf records of the longest ids there can be: they fit, whatever the limit, and stay consistent."""

import pytest

from models.words import MOST_NAMED
from streams.config import TopicsConfig
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord, bounded, encoder, record_decoder
from streams.kafka.topics import OVERHEAD_BYTES
from streams.ranking.candidates import SOURCES
from streams.ranking.reasons import LONGEST_PART

LONGEST = "\U0001f600" * 256
REASON = "matches" + (":" + "%" * LONGEST_PART) * MOST_NAMED


def record() -> ShelfRecord:
    items = [ShelfItem(f"{number:03}{LONGEST[3:]}", 1.0, 0.1, 0.2, 0.3, REASON) for number in range(20)]
    shelf = Shelf(shelf_id="s" * 24, surface="search", model="m", arm="a", made_at=1, event_ts=1, items=items)
    return ShelfRecord(
        key="shelf:search:" + "%F0%9F%98%80" * 768,
        shopper=LONGEST,
        query='"\\' * 256,
        shelf=shelf,
        propensities=[number / 20 for number in range(20)],
        history=[LONGEST] * 50,
        asked=[LONGEST * 2] * 10,
        weights=[0.5] * 60,
        popularity=[number / 20 for number in range(20)],
        sources=["+".join((*SOURCES, "explore"))] * 20,
    )


def test_the_longest_ids_fit_as_they_are() -> None:
    whole = record()
    assert bounded(whole, TopicsConfig().max_message_bytes - OVERHEAD_BYTES) is whole


@pytest.mark.parametrize("limit", [100, 15_000, 20_000, 40_000, 100_000])
def test_what_is_left_fits_and_belongs_together(limit: int) -> None:
    whole, left = record(), bounded(record(), limit)
    count = len(left.shelf.items)
    assert len(encoder.encode(left)) <= limit or not count
    assert left.shelf.items == whole.shelf.items[:count]
    assert left.propensities == whole.propensities[:count]
    assert left.popularity == whole.popularity[:count]
    assert left.sources == whole.sources[:count]
    assert len(left.weights) == len(left.history) + len(left.asked)
    assert record_decoder.decode(encoder.encode(left)) == left
