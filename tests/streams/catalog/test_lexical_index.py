import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog import lexical_index
from streams.catalog.lexical_index import DESCRIPTIONS, LexicalIndex, link_files


@pytest.fixture
def index() -> LexicalIndex:
    index = LexicalIndex()
    index.put(1, ["wi", "##fi", "router"])
    index.put(2, ["wi", "cable"])
    index.put(3, ["usb", "cable", "cable"])
    index.put(4, ["Wi", "智", "能"])
    index.commit()
    return index


def test_pieces_match_exactly(index: LexicalIndex) -> None:
    assert index.search(["##fi"], 5).tolist() == [1]
    assert index.search(["fi"], 5).tolist() == []
    assert index.search(["Wi"], 5).tolist() == [4]
    assert index.search(["智"], 5).tolist() == [4]


def test_any_piece_may_match_and_the_rarer_counts_more(index: LexicalIndex) -> None:
    assert index.search(["wi", "##fi"], 5).tolist() == [1, 2]
    assert set(index.search(["usb", "router"], 5).tolist()) == {1, 3}
    assert len(index.search(["cable", "wi"], 1)) == 1


def test_changes_show_with_the_commit(index: LexicalIndex) -> None:
    index.put(1, ["lamp"])
    index.drop(2)
    index.drop(77)
    assert index.search(["wi"], 5).tolist() == [1, 2] or index.search(["wi"], 5).tolist() == [2, 1]
    index.commit()
    assert index.search(["wi", "router"], 5).tolist() == []
    assert index.search(["lamp"], 5).tolist() == [1]
    assert len(index) == 3


def test_the_last_change_of_a_slot_within_a_commit_counts() -> None:
    index = LexicalIndex()
    index.put(1, ["a"])
    index.put(1, ["b"])
    index.put(2, ["a"])
    index.drop(2)
    index.commit()
    assert index.search(["a", "b"], 5).tolist() == [1]
    assert index.search(["a"], 5).tolist() == []


def test_empty_index_empty_query_and_empty_item() -> None:
    index = LexicalIndex()
    assert index.search(["a"], 5).tolist() == []
    index.put(1, [])
    index.commit()
    assert index.search([], 5).tolist() == []
    assert index.search(["a"], 0).tolist() == []
    assert len(index) == 1


def test_a_long_query_is_searched_by_its_rarest_pieces() -> None:
    index = LexicalIndex()
    common = [f"common{n}" for n in range(20)]
    for slot in range(30):
        index.put(slot, common)
    index.put(99, ["rare"])
    index.commit()
    assert index.search([*common, "rare", "unknown"], 1).tolist() == [99]


@pytest.mark.parametrize(
    "hostile",
    [
        '"', "AND OR NOT", "pieces:[* TO *]", "*", "(((((", "a^9999999999", "slot:1", "\\", "\x00", "\ud800", "",
        "  ", "x" * 200_000,
    ],
)  # fmt: skip
def test_hostile_pieces_are_only_pieces(index: LexicalIndex, hostile: str) -> None:
    assert index.search([hostile], 5).tolist() == []
    assert index.search([hostile, "usb"], 5).tolist() == [3]
    index.put(5, [hostile, "vase"])
    index.commit()
    assert index.search(["vase"], 5).tolist() == [5]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(), max_size=30), st.integers(1, 50))
def test_no_text_breaks_a_search(pieces: list[str], k: int) -> None:
    index = LexicalIndex()
    index.put(0, pieces)
    index.commit()
    found = index.search(pieces, k)
    assert found.tolist() == ([0] if pieces else [])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "drop", "commit"]), st.integers(0, 7)), max_size=40))
def test_holds_exactly_what_was_put_and_not_dropped(changes: list[tuple[str, int]]) -> None:
    index, held = LexicalIndex(), set[int]()
    for change, slot in changes:
        if change == "put":
            index.put(slot, ["a", f"s{slot}"])
            held.add(slot)
        elif change == "drop":
            index.drop(slot)
            held.discard(slot)
        else:
            index.commit()
    index.commit()
    assert sorted(index.search(["a"], 50).tolist()) == sorted(held)
    assert len(index) == len(held)


def test_threads_may_change_and_commit_at_once_while_one_searches(tmp_path: Path) -> None:
    index = LexicalIndex(tmp_path)

    def work(number: int) -> int:
        for slot in range(number * 100, number * 100 + 20):
            index.put(slot, ["tap"])
            index.commit()
        return number

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, number) for number in range(3)]
        counts = [len(index.search(["tap"], 100))]
        while not all(one.done() for one in working):
            counts.append(len(index.search(["tap"], 100)))
    assert [one.result() for one in working] == [0, 1, 2] and counts == sorted(counts)
    assert len(index) == len(index.search(["tap"], 100)) == 60


def test_a_copy_of_its_files_is_what_was_committed(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    index = LexicalIndex(tmp_path / "own")
    for slot in range(50):
        index.put(slot, ["tap", f"n{slot}"])
        index.commit()
    index.drop(7)
    index.commit()
    index.copy_files(tmp_path / "copy")
    index.drop(8)
    index.commit()
    copy = LexicalIndex(tmp_path / "copy")
    assert len(copy) == 49 and copy.search(["n8"], 5).tolist() == [8] and not len(copy.search(["n7"], 5))
    with pytest.raises(OSError, match="only in memory"):
        LexicalIndex().copy_files(tmp_path / "none")


def test_what_was_found_is_found_again_until_a_commit() -> None:
    index = LexicalIndex()
    index.put(1, ["usb"])
    index.commit()
    assert [index.search(["usb"], 5).tolist() for _ in range(2)] == [[1], [1]]
    index.put(2, ["usb"])
    assert index.search(["usb"], 5).tolist() == [1]
    index.commit()
    assert sorted(index.search(["usb"], 5).tolist()) == [1, 2]


def test_a_commit_that_ends_while_one_searches_changes_nothing_of_what_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = LexicalIndex()
    for slot in range(4):  # a segment each
        index.put(slot, ["tap", f"n{slot}"])
        index.commit()
    searcher = index._searcher

    class Interrupted:
        def search(self, *asked: Any, **options: Any) -> Any:
            found = searcher.search(*asked, **options)
            for slot in range(4):
                index.drop(slot)
            index.put(9, ["tap"])
            index.commit()
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(searcher, name)

    monkeypatch.setattr(index, "_searcher", Interrupted())
    assert index.search(["n3"], 5).tolist() == [3]
    assert index.search(["tap"], 5).tolist() == [9]


def test_a_copy_is_tried_again_where_a_merge_removed_a_file_just_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    index = LexicalIndex(tmp_path / "own")
    index.put(1, ["tap"])
    index.commit()
    removed = list[Path]()

    def link(folder: Path, to: Path) -> None:
        link_files(folder, to)
        if not removed:
            removed.extend(path for path in to.iterdir() if path.name not in DESCRIPTIONS)
            for path in removed:
                path.unlink()

    monkeypatch.setattr(lexical_index, "link_files", link)
    index.copy_files(tmp_path / "copy")
    assert removed and LexicalIndex(tmp_path / "copy").search(["tap"], 5).tolist() == [1]


def test_that_nothing_can_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "other").mkdir()
    index = LexicalIndex(tmp_path / "own")
    index.put(1, ["tap"])
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most[1]))
    try:
        with pytest.raises(OSError):
            index.commit()
        with pytest.raises(OSError):
            LexicalIndex(tmp_path / "other")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
