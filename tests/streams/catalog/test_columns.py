"""Columns of names and texts, against dictionaries."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import MonkeyPatch

from streams.catalog import columns
from streams.catalog.columns import Names, Texts

NAMES = st.sampled_from([f"n{number}" for number in range(12)] + ["é", "\ud800", "x" * 300])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(NAMES, st.sampled_from(["number", "drop", "find"])), max_size=60))
def test_names_have_numbers_as_in_a_dictionary(steps: list[tuple[str, str]]) -> None:
    names, expected = Names(), dict[str, int]()
    for name, step in steps:
        if step == "number":
            found = names.number(name)
            assert found == expected.setdefault(name, found)
        elif step == "drop":
            assert names.drop(name) == expected.pop(name, -1)
        assert names.find(name) == expected.get(name, -1)
        assert len(set(expected.values())) == len(expected) == len(names)
    assert set(names) == set(expected)
    assert all(names.name(number) == name for name, number in expected.items())


def test_a_table_that_is_full_of_dropped_names_is_made_anew() -> None:
    names = Names()
    for number in range(20_000):
        assert names.number(f"n{number}") == number % 50
        if number >= 49:
            names.drop(f"n{number - 49}")
    assert len(names) == 49 and names.nbytes < 200_000


def test_equal_hashes_are_no_equal_names() -> None:
    with MonkeyPatch.context() as patch:
        patch.setattr(columns, "hashed", lambda _: 5)
        names = Names()
        assert [names.number(name) for name in "abab"] == [0, 1, 0, 1]
        assert names.drop("a") == 0 and names.find("b") == 1 and names.find("a") == -1


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.binary(max_size=40))), max_size=80))
def test_texts_stay_though_room_is_made(steps: list[tuple[int, bytes | None]]) -> None:
    with MonkeyPatch.context() as patch:
        patch.setattr(columns, "GARBAGE_BYTES", 16)
        texts, expected = Texts(), dict[int, bytes]()
        for number, text in steps:
            if text is None:
                texts.drop(number)
                expected.pop(number, None)
            else:
                texts.put(number, text)
                expected[number] = text
        assert {number: texts.get(number) for number in texts.numbers().tolist()} == expected
        assert [texts.get(number) for number in range(9)] == [expected.get(number) for number in range(9)]


def test_texts_take_no_more_than_twice_what_they_are(tmp_path: Path) -> None:
    texts = Texts()
    for _ in range(100):
        for number in range(100):
            texts.put(number, bytes(1_000))
    assert texts.nbytes < 3_000_000
