"""Slots against the simplest model of them, and two processes at once."""

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.store import ModelStore, StoreError
from models.store.manifest import path_of
from models.store.slots import CHALLENGER, HISTORY, Slots
from models.store.storage import connect

IDS = [f"20261124-15300{number}-head-1a2b3c4d" for number in range(4)]
STEPS = st.one_of(st.tuples(st.just("promote"), st.sampled_from(IDS)), st.tuples(st.just("rollback"), st.just("")))


@settings(deadline=None, max_examples=60)
@given(st.lists(STEPS, max_size=40))
def test_promotions_and_rollbacks_are_a_stack(steps: list[tuple[str, str]]) -> None:
    slots = Slots(connect("memory://slots-model"), lambda: datetime(2026, 11, 24, tzinfo=UTC))
    for id in IDS:
        slots.storage.write(path_of(id), b"{}")
    if slots.names():
        slots.storage.remove("slots/champion.json")
    stack: list[str] = []
    for step, id in steps:
        if step == "promote":
            slots.promote(id, "a test")
            if not stack or stack[-1] != id:
                stack = [*stack, id][-HISTORY - 1 :]
        elif stack:
            slots.rollback("a test")
            stack.pop()
            assert bool(slots.read().emptied) is not bool(stack), "before the first there was none"
        else:
            with pytest.raises(StoreError, match="nothing to roll back"):
                slots.rollback("a test")
        slot = slots.read()
        assert [past.version for past in (*slot.history, slot.current) if past] == stack


def test_a_rollback_passes_over_versions_that_are_gone(store: ModelStore) -> None:
    for id in IDS[:3]:
        store.storage.write(path_of(id), b"{}")
        store.slots.promote(id, "a test")
    store.storage.remove(path_of(IDS[1]))
    current = store.slots.rollback("clicks fell").current
    assert current is not None and current.version == IDS[0]
    assert current.reason == f"rolled back from {IDS[2]}: clicks fell"


def test_nothing_is_put_back_where_all_that_came_before_is_gone(store: ModelStore) -> None:
    for id in IDS[:2]:
        store.storage.write(path_of(id), b"{}")
        store.slots.promote(id, "a test")
    store.storage.remove(path_of(IDS[0]))
    with pytest.raises(StoreError, match="still there"):
        store.slots.rollback("clicks fell")
    current = store.slots.read().current
    assert current is not None and current.version == IDS[1]


def test_a_challengers_share_grows_without_a_trace_in_the_history(store: ModelStore) -> None:
    for id in IDS[:2]:
        store.storage.write(path_of(id), b"{}")
    for share in (0.0, 0.1, 0.1, 0.5):
        slot = store.slots.promote(IDS[0], f"{share:.0%}", CHALLENGER, share)
        assert slot.current is not None and (slot.current.share, slot.history) == (share, ())
    assert slot.current is not None and slot.current.reason == "50%"
    slot = store.slots.promote(IDS[1], "another", CHALLENGER, 0.0)
    assert [(past.version, past.share) for past in slot.history] == [(IDS[0], 0.5)]
    emptied = store.slots.clear(CHALLENGER, "clicks fell")
    assert emptied == store.slots.clear(CHALLENGER, "once more") == store.slots.read(CHALLENGER)
    assert (emptied.current, emptied.emptied, len(emptied.history)) == (None, "clicks fell", 2)
    with pytest.raises(StoreError, match="no share"):
        store.slots.promote(IDS[0], "a mistake", CHALLENGER, 1.1)


def test_a_slot_of_an_earlier_release_is_read(store: ModelStore) -> None:
    old = '{"version":"20261124-153000-head-1a2b3c4d","at":"2026-11-24T15:30:00Z","reason":"a test"}'
    store.storage.write("slots/champion.json", f'{{"current":{old},"history":[{old}]}}'.encode())
    slot = store.slots.read()
    assert slot.current is not None and slot.current.share == slot.history[0].share == 1.0


def test_mistakes_are_told(store: ModelStore) -> None:
    with pytest.raises(StoreError, match="There is no version"):
        store.slots.promote(IDS[0], "a test")
    with pytest.raises(StoreError, match="no name of a slot"):
        store.slots.read("../champion")
    store.storage.write("slots/champion.json", b"{")
    with pytest.raises(StoreError, match="is no slot"):
        store.slots.read()


def promote_many(folder: str, first: int) -> None:
    slots = ModelStore(folder).slots
    for number in range(first, first + 8):
        slots.promote(f"20261124-153000-head-{number:08x}", str(number))


def test_two_processes_lose_neithers_work(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path / "store"))
    for number in range(16):
        store.storage.write(path_of(f"20261124-153000-head-{number:08x}"), b"{}")
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=promote_many, args=(str(tmp_path / "store"), first)) for first in (0, 8)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    slot = store.slots.read()
    promoted = [int(past.reason) for past in (*slot.history, slot.current) if past]
    assert sorted(promoted) == list(range(16))
