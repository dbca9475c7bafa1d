"""What the topic holds, against the simplest model of it: the newest record of every key, whoever wrote it when."""

from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.charge import Watch
from streams.embedding import Origin, key, place
from streams.ledger import Ledger
from streams.producer import partition

ITEMS, ENCODERS = ("a", "b", "c"), ("old", "new", "other")
RECORD = st.tuples(st.sampled_from(ITEMS), st.sampled_from(ENCODERS), st.integers(0, 9), st.booleans())


@settings(deadline=None, max_examples=300)
@given(st.lists(RECORD, max_size=30))
def test_it_knows_what_is_live_and_what_is_lacking(records: list[tuple[str, str, int, bool]]) -> None:
    """Records in any order, late ones too: an item lives if its newest state is no delete."""
    ledger = Ledger("new")
    held: dict[tuple[str, str], int] = {}
    deleted: dict[str, int] = {}
    for item, encoder, offset, put in records:
        origin = Origin(ITEMS.index(item), offset)
        if put:
            taken = ledger.put(item, encoder, origin)
            if item in deleted and offset >= deleted[item]:
                del deleted[item]
            assert taken == (item not in deleted)
            held[item, encoder] = offset
        else:
            ledger.delete(item, encoder, origin)
            if held.get((item, encoder), -1) <= offset:
                held.pop((item, encoder), None)
                deleted[item] = offset
    alive = {item for item, encoder in held if held[item, encoder] >= deleted.get(item, -1)}
    assert len(ledger) == len(alive)
    newest = {item: max(held[item, e] for e in ENCODERS if (item, e) in held) for item in alive}
    behind = {item for item in alive if held.get((item, "new")) != newest[item]}
    assert ledger.behind == len(behind)
    assert ledger.complete == (not behind) == (not ledger.lacks(range(3)))
    assert ledger.progress == (1 - len(behind) / len(alive) if alive else 1)
    assert {
        item for item in ITEMS if item in newest and ledger.wants(item, Origin(ITEMS.index(item), newest[item]))
    } == behind


def test_what_is_lacking_is_filled_in_by_its_owner_alone() -> None:
    ledger = Ledger("new")
    for item, number in (("a", 0), ("b", 1)):
        ledger.put(item, "old", Origin(number, 5))
    assert ledger.wants("a", Origin(0, 5)) and not ledger.wants("a", Origin(0, 4))
    assert ledger.lacks({0}) and ledger.lacks({1}) and not ledger.lacks({2})
    ledger.put("a", "new", Origin(0, 5))
    assert not ledger.lacks({0}) and ledger.progress == 0.5
    ledger.put("b", "new", Origin(1, 5))
    assert ledger.complete and ledger.held("old") == ledger.held("new") == 2


def test_a_later_state_for_another_encoder_makes_it_lack_again() -> None:
    ledger = Ledger("new")
    for encoder in ("old", "new"):
        ledger.put("a", encoder, Origin(0, 1))
    assert ledger.complete
    ledger.put("a", "old", Origin(0, 2))
    assert not ledger.complete and ledger.wants("a", Origin(0, 2))


def test_a_delete_for_one_encoder_outdates_the_others() -> None:
    ledger = Ledger("new")
    for encoder in ENCODERS:
        ledger.put("a", encoder, Origin(0, 1))
    ledger.delete("a", "new", Origin(0, 2))
    assert len(ledger) == 0 and ledger.complete
    assert ledger.to_delete(owned={0}) == {("a", "old"), ("a", "other")} and ledger.to_delete(owned={1}) == set()
    for encoder in ("old", "other"):
        ledger.delete("a", encoder, Origin(0, 2))
    assert not ledger.to_delete(owned={0})
    assert ledger.put("a", "new", Origin(0, 3)) and len(ledger) == 1


def test_old_encoders_are_retired_and_two_are_kept() -> None:
    ledger = Ledger("new")
    for encoder in ENCODERS:
        ledger.put("a", encoder, Origin(0, 1))
    assert ledger.to_retire(keep={"new", "old"}, owned={0}) == [("a", "other")]
    ledger.forget("a", "other")
    assert ledger.encoders() == ["new", "old"] and ledger.complete


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.sampled_from(ENCODERS))
def test_keys_name_both_and_partitions_go_by_the_item_alone(item: str, encoder: str) -> None:
    assert place(SimpleNamespace(key=key(item, encoder), headers=()))[:2] == (item, encoder)
    partitions = list(range(7))
    assert partition(key(item, encoder), partitions, []) == partition(item.encode(), partitions, [])


def test_a_refused_version_is_not_tried_again_until_another_came() -> None:
    watch = Watch("a")
    assert [watch.update(version) for version in ("b", "b", None, "a", "b")] == [True, False, False, True, True]
