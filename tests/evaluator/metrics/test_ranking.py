"""Sums of measures over shelves, against what they are by hand."""

import math

import pytest

from evaluator.metrics.impression import AttributedImpression, JoinEvent
from evaluator.metrics.ranking import RankingMetrics, gains


class Shop:
    """Four items, two of one brand; all titles are of one word."""

    def brand(self, item_id: str) -> str:
        return {"i0": "acme", "i1": "bolt", "i2": "acme"}.get(item_id, "")

    def title(self, item_id: str) -> str:
        return {"i0": "red hose", "i1": "red lamp"}.get(item_id, "")

    def __len__(self) -> int:
        return 4

    def __contains__(self, item_id: object) -> bool:
        return item_id in {f"i{number}" for number in range(4)}


def shelf(*kinds: str, first: int = 0) -> list[AttributedImpression]:
    return [
        AttributedImpression(
            "u", f"i{place}", "s", "feed", first + place, 0, (JoinEvent(1, kind, f"e{place}"),) if kind else ()
        )
        for place, kind in enumerate(kinds)
    ]


def taken(*shelves: list[AttributedImpression]) -> RankingMetrics:
    found, before = RankingMetrics(), RankingMetrics()
    for one in shelves:
        found.update(one, Shop(), before)
    return found


def test_gains_are_levels_in_the_order_shown() -> None:
    shown = shelf("", "click", "purchase")
    assert gains(shown).tolist() == gains(shown[::-1]).tolist() == [0.0, 1 / 3, 1.0]


def test_orders_are_judged_where_outcomes_differ() -> None:
    found = taken(shelf("", "click"), shelf("", ""), shelf("purchase", "click", "")).means
    assert (found["mrr"].total, found["mrr"].count) == (1.5, 2)
    assert found["ndcg@10"].get() == pytest.approx((1 / math.log2(3) + 1) / 2)


def test_places_are_worth_their_exposure_the_first_ten() -> None:
    found = taken(shelf("", "", "", ""), shelf("", first=9), shelf("", "", first=10))
    assert found.exposure == pytest.approx(
        {"acme": 1 + 0.5 + 1 / math.log2(11), "bolt": 1 / math.log2(3), "": 1 / math.log2(5)}
    )
    assert found.squares["acme"] == pytest.approx(1 + 0.25 + 1 / math.log2(11) ** 2)
    assert found.items == {"i0": 2, "i1": 1, "i2": 1, "i3": 1}, "those after the tenth place are not shown"
    assert found.coverage(4) == 1.0


def test_words_of_titles_are_compared_and_unknown_items_have_none() -> None:
    assert taken(shelf("", "", "", "")).means["diversity@10"].get() == pytest.approx(2 / 3)
    assert taken(shelf("")).means["diversity@10"].count == 0


def test_novelty_is_bits_by_what_was_shown_before() -> None:
    found, before = RankingMetrics(), taken(shelf("", ""), shelf("", ""))
    found.update(shelf("", "", ""), Shop(), before)
    assert found.means["novelty@10"].get() == pytest.approx((1 + 1 + 2) / 3)
    assert before.means["novelty@10"].count == 0


def test_sums_over_shelves_add_up() -> None:
    one, other = taken(shelf("click", ""), shelf("", "")), taken(shelf("", "click"))
    both = taken(shelf("click", ""), shelf("", ""), shelf("", "click"))
    one.add(other)
    assert one == both and one.means["mrr"].get() == 0.75
    assert math.isnan(one.coverage(0)) and math.isnan(RankingMetrics().means["mrr"].get())
