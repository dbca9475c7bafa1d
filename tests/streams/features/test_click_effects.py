"""Touches beside expected touches: what effects say of simulated shelves, in any split and after a change."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.features import click_effects
from streams.features.click_effects import ClickEffects, Counts, Effects, Key, Shown, decayed, ratio

HALF_LIFE_MS = 60_000.0
BRANDS = {f"i{n}": f"b{n % 4}" for n in range(40)}


def pages(chance: random.Random, appeal: dict[str, float], begin: int, count: int) -> Iterator[Shown]:
    """Pages of ten items, of which the model expects 0.2 each; low places are looked at less."""
    for number in range(count):
        for position, item in enumerate(chance.sample(sorted(appeal), 10)):
            looked = (position + 1) ** -0.6
            touched = chance.random() < looked * appeal[item]
            yield Shown(begin + 10 * number, "feed", position, item, BRANDS[item], 0.2, touched)


def learned(shown: Iterator[Shown], now_ms: int) -> Effects:
    effects = ClickEffects(HALF_LIFE_MS)
    for one in shown:
        effects.update(one)
    return Effects.of([effects.get()], now_ms, HALF_LIFE_MS)


def of_item(found: Effects, item: str, brand: str) -> float:
    """An item's ratio; its brand's, or one, where nothing is counted of it."""
    return ratio(found.items.get(item, Counts(0.0, 0.0, 0)), found.brands.get(brand, 1.0))


def test_effects_find_how_appealing_items_are_beside_each_other() -> None:
    appeal = {item: 0.6 if BRANDS[item] == "b1" else 0.1 for item in BRANDS} | {"i2": 0.4}
    found = learned(pages(random.Random(1), appeal, 0, 3_000), 30_000)
    of = {item: of_item(found, item, BRANDS[item]) for item in BRANDS}
    usual = of["i0"]
    assert of["i1"] / usual == pytest.approx(6, rel=0.25)
    assert of["i2"] / usual == pytest.approx(4, rel=0.25)
    assert of_item(found, "unknown", "b1") / of_item(found, "unknown", "b0") == pytest.approx(6, rel=0.15)
    assert of_item(found, "unknown", "unknown") == 1


def test_effects_follow_a_change_within_half_lives() -> None:
    before = {item: 0.4 if BRANDS[item] in ("b0", "b1") else 0.05 for item in BRANDS}
    after = {item: 0.05 if BRANDS[item] in ("b0", "b1") else 0.4 for item in BRANDS}
    chance = random.Random(2)
    effects = ClickEffects(HALF_LIFE_MS)
    for one in pages(chance, before, 0, 6_000):
        effects.update(one)
    for one in pages(chance, after, 60_000, 8_000):
        effects.update(one)
    found = Effects.of([effects.get()], 140_000, HALF_LIFE_MS)
    assert found.brands["b2"] > 1.5 * found.brands["b0"]


def test_what_nobody_touches_or_shows_is_no_reason_to_divide_by_zero() -> None:
    found = learned(iter([Shown(0, "feed", 0, "i", "", 0.0, False)] * 1_000), 0)
    assert found.brands == {} and of_item(found, "i", "") == 1


def test_low_places_are_no_fault_of_the_item() -> None:
    chance, shown = random.Random(3), list[Shown]()
    for number in range(4_000):
        for position, item in enumerate(("high", "other", "low")):
            shown.append(Shown(number, "feed", position, item, "", 0.2, chance.random() < 0.3 / (position + 1)))
        mixed = [("high", 2), ("low", 0), ("other", 1)] if number % 4 == 0 else []
        for item, position in mixed:
            shown.append(Shown(number, "feed", position, item, "", 0.2, chance.random() < 0.3 / (position + 1)))
    found = learned(iter(shown), 4_000)
    assert of_item(found, "low", "") == pytest.approx(of_item(found, "high", ""), rel=0.15)


sums = st.builds(Counts, st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 10**6))
parts = st.lists(st.dictionaries(st.sampled_from([Key("item", "a"), Key("brand", "b")]), sums), max_size=4)


@given(parts)
def test_the_parts_add_up(found: list[dict[Key, Counts]]) -> None:
    together = Effects.of(found, 2 * 10**6, HALF_LIFE_MS)
    whole = [decayed(part[key], 2 * 10**6, HALF_LIFE_MS) for part in found for key in part if key.kind == "item"]
    if whole:
        assert together.items["a"].expected == pytest.approx(sum(one.expected for one in whole))
    else:
        assert not together.items


@given(sums, st.integers(0, 10**6), st.integers(0, 10**6))
def test_decay_needs_no_steps(counts: Counts, first: int, second: int) -> None:
    at = counts.ts + first
    twice = decayed(decayed(counts, at, HALF_LIFE_MS), at + second, HALF_LIFE_MS)
    assert twice == pytest.approx(decayed(counts, at + second, HALF_LIFE_MS))


def test_what_is_kept_is_bounded_and_says_what_was_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click_effects, "MOST", 12)
    effects = ClickEffects(HALF_LIFE_MS)
    for number in range(100):
        for turn in range(number):
            effects.update(Shown(0, "feed", 0, f"i{number}", "", 0.2, turn % 5 == 0))
    dropped = effects.trim()
    assert len(effects.get()) == 9 and Key("item", "i99") in effects.get() and Key("item", "i1") in dropped
    assert effects.changed == set(effects.get())
    later = int(100 * HALF_LIFE_MS)
    for number in range(3):
        effects.update(Shown(later, "feed", 0, f"new{number}", "", 0.2, True))
    assert effects.trim() == [], "there is room"
    effects.update(Shown(later, "feed", 0, "new3", "", 0.2, True))
    effects.trim()
    new = {Key("item", f"new{number}") for number in range(4)}
    assert effects.get().keys() == {Key("place", "feed.0"), *new}, "long ago says nothing any more"


def test_a_look_at_all_counts_is_seldom_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click_effects, "MOST", 100)
    effects, looks = ClickEffects(HALF_LIFE_MS), 0
    for number in range(1_000):
        effects.update(Shown(0, "feed", 0, f"i{number}", "", 0.2, False))
        looks += bool(effects.trim())
        assert len(effects.get()) <= 100
    assert 30 < looks < 40
