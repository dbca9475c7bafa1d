"""What the topic holds, against the simplest model of it: the newest record of every key, whoever wrote it when."""

from dataclasses import dataclass
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.embedding import Origin, key, place
from streams.catalog.topic_index import TopicIndex
from streams.kafka.producer import partition
from streams.serving.slots import ChangeDetector

ITEMS, ENCODERS = ("a", "b", "c"), ("old", "new", "other")
RECORD = st.tuples(st.sampled_from(ITEMS), st.sampled_from(ENCODERS), st.integers(0, 9))


@settings(deadline=None, max_examples=300)
@given(st.lists(RECORD, max_size=30), st.sets(st.integers(0, 9)))
def test_it_knows_what_is_live_and_what_is_lacking(records: list[tuple[str, str, int]], deletes: set[int]) -> None:
    """Records in any order, late ones too: an item lives if its newest state is no delete."""
    index = TopicIndex("new")
    held: dict[tuple[str, str], int] = {}
    newest: dict[str, int] = {}
    for item, encoder, offset in records:
        origin = Origin(ITEMS.index(item), offset)
        if offset in deletes:
            taken = index.delete(item, encoder, origin)
            held.pop((item, encoder), None)
        else:
            taken = index.put(item, encoder, origin)
            held[item, encoder] = offset
        assert taken == (offset >= newest.get(item, 0))
        newest[item] = max(offset, newest.get(item, 0))
    alive = {item for item, offset in newest.items() if offset not in deletes}
    assert len(index) == len(alive) and {item for item in ITEMS if index.live(item)} == alive
    behind = {item for item in alive if held.get((item, "new")) != newest[item]}
    assert index.behind == len(behind)
    assert index.complete == (not behind) == (not index.lacks(range(3)))
    assert index.progress == (1 - len(behind) / len(alive) if alive else 1)
    assert {
        item for item in ITEMS if item in newest and index.wants(item, Origin(ITEMS.index(item), newest[item]))
    } == behind
    assert index.outdated == {(item, encoder) for item, encoder in held if item not in alive}


@dataclass(frozen=True)
class State:
    """One record of an item on ``shop.items``."""

    origin: Origin
    delete: bool


@st.composite
def interleavings(draw: st.DrawFn) -> tuple[State | None, list[State]]:
    """An item's records in three partitions, whose clocks may go back, as a worker may come to read what was made of
    them: each partition in its order, some twice; and the state that all of that leaves."""
    best, winner = (-1, -1, -1), None
    queues: list[list[State]] = []
    for number in range(3):
        times = draw(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=4))
        queues.append([State(Origin(number, offset, ms), gone) for offset, (ms, gone) in enumerate(times)])
        latest = 0
        for offset, (ms, _) in enumerate(times):
            latest = max(latest, ms)
            if (latest, number, offset) > best:
                best, winner = (latest, number, offset), queues[-1][offset]
    read: list[State] = []
    while any(queues) or (read and draw(st.booleans())):
        if read and draw(st.booleans()):
            read.append(draw(st.sampled_from(read)))
        elif waiting := [queue for queue in queues if queue]:
            read.append(draw(st.sampled_from(waiting)).pop(0))
    return winner, read


@settings(deadline=None, max_examples=500)
@given(interleavings())
def test_any_interleaving_of_partitions_leaves_the_same_state(story: tuple[State | None, list[State]]) -> None:
    winner, read = story
    index = TopicIndex("new")
    for state in read:
        (index.delete if state.delete else index.put)("a", "new", state.origin)
    assert index.known("a") == (winner and winner.origin)
    assert index.live("a") == (winner is not None and not winner.delete)
    if index.live("a"):
        last = read[-1]
        assert index.complete == (last.origin == index.known("a")), "what was overwritten has to be written again"


def test_an_earlier_state_that_was_written_last_has_to_be_written_over() -> None:
    """Whoever reads the topic after compaction finds the record that was written last, and nothing else."""
    index = TopicIndex("new")
    assert index.put("a", "new", Origin(0, 5, 2_000)) and not index.put("a", "new", Origin(1, 3, 1_000))
    assert index.wants("a", Origin(0, 5)) and index.lacks({0}) and not index.lacks({1})
    assert index.put("a", "new", Origin(0, 5, 2_000)) and index.complete
    assert not index.delete("a", "new", Origin(1, 4, 1_500)) and index.wants("a", Origin(0, 5))
    assert index.delete("a", "new", Origin(1, 5, 2_500)) and not index.put("a", "new", Origin(0, 6, 2_400))
    assert index.to_delete(owned={1}) == {("a", "new")}


def test_what_is_lacking_is_filled_in_by_its_owner_alone() -> None:
    index = TopicIndex("new")
    for item, number in (("a", 0), ("b", 1)):
        index.put(item, "old", Origin(number, 5))
    assert index.wants("a", Origin(0, 5)) and not index.wants("a", Origin(0, 4))
    assert index.lacks({0}) and index.lacks({1}) and not index.lacks({2})
    index.put("a", "new", Origin(0, 5))
    assert not index.lacks({0}) and index.progress == 0.5
    index.put("b", "new", Origin(1, 5))
    assert index.complete and index.held("old") == index.held("new") == 2


def test_a_later_state_for_another_encoder_makes_it_lack_again() -> None:
    index = TopicIndex("new")
    for encoder in ("old", "new"):
        index.put("a", encoder, Origin(0, 1))
    assert index.complete
    index.put("a", "old", Origin(0, 2))
    assert not index.complete and index.wants("a", Origin(0, 2))


def test_a_delete_for_one_encoder_outdates_the_others() -> None:
    index = TopicIndex("new")
    for encoder in ENCODERS:
        index.put("a", encoder, Origin(0, 1))
    index.delete("a", "new", Origin(0, 2))
    assert len(index) == 0 and index.complete
    assert index.to_delete(owned={0}) == {("a", "old"), ("a", "other")} and index.to_delete(owned={1}) == set()
    for encoder in ("old", "other"):
        index.delete("a", encoder, Origin(0, 2))
    assert not index.to_delete(owned={0})
    assert index.put("a", "new", Origin(0, 3)) and len(index) == 1


def test_old_encoders_are_retired_and_two_are_kept() -> None:
    index = TopicIndex("new")
    for encoder in ENCODERS:
        index.put("a", encoder, Origin(0, 1))
    assert index.to_retire(keep={"new", "old"}, owned={0}) == [("a", "other")]
    index.forget("a", "other")
    assert index.encoders() == ["new", "old"] and index.complete


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.sampled_from(ENCODERS))
def test_keys_name_both_and_partitions_go_by_the_item_alone(item: str, encoder: str) -> None:
    assert place(SimpleNamespace(key=key(item, encoder), headers=()))[:2] == (item, encoder)
    partitions = list(range(7))
    assert partition(key(item, encoder), partitions, []) == partition(item.encode(), partitions, [])


def test_a_refused_version_is_not_tried_again_until_another_came() -> None:
    watch = ChangeDetector("a")
    assert [watch.update(version) for version in ("b", "b", None, "a", "b")] == [True, False, False, True, True]
