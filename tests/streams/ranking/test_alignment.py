"""Slots and places are of the same item at any time, however the catalogue and the statistics grow and shrink."""

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.encoder import Encoder
from streams.catalog.catalog import Catalog, Change
from streams.features.items import ItemStatistics, log_price
from streams.ranking.alignment import Alignment
from tests.streams.conftest import TITLES

IDS = [*TITLES, "elsewhere"]
STEPS = st.lists(st.tuples(st.sampled_from(["put", "drop", "count"]), st.sampled_from(IDS)), max_size=25)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_both_numbers_are_those_of_the_moment(
    encoder: Encoder, changes: Mapping[str, Change], steps: list[tuple[str, str]]
) -> None:
    catalogue, items = Catalog(encoder), ItemStatistics()
    alignment = Alignment(catalogue, items)
    for step, item in steps:
        if step == "count":
            items.places([item])
        elif item in changes:
            catalogue.apply([changes[item] if step == "put" else Change(item, None, None)])
        slots = catalogue.slots(IDS)
        assert [items.ids[place] for place in alignment.places(slots).tolist()] == catalogue.ids(slots)
        found = alignment.slots(np.arange(len(items))).tolist()
        assert found == [-1 if (slot := catalogue.slot(one)) is None else slot for one in items.ids]
        assert alignment.held(np.arange(len(items))).tolist() == [slot for slot in found if slot >= 0]


def test_prices_are_those_of_the_catalogue_where_it_has_one(catalogue: Catalog, upsert: Callable[..., Change]) -> None:
    items = ItemStatistics()
    alignment, places = Alignment(catalogue, items), items.places(["hdmi", "elsewhere", "mouse"])
    items.prices[:] = 1.0
    item = catalogue.item(catalogue.slots(["hdmi"])[0])
    catalogue.apply([upsert(msgspec.structs.replace(item, price=9.0))])
    alignment.price(places, alignment.slots(places))
    assert items.prices.tolist() == pytest.approx([log_price(9.0), 1.0, 1.0])
