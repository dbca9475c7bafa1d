"""Clearing up never removes what somebody needs."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.store import Data, File, Manifest, ModelStore, StoreError
from models.store.clearing import clear
from models.store.manifest import VERSION, encode, path_of

START = datetime(2026, 11, 24, 15, 30, tzinfo=UTC)


def version(store: ModelStore, number: int, encoder: str) -> str:
    """Write a version's manifest alone, which is all that clearing up looks at."""
    id = f"20261124-15{number:02d}00-head-{number:08x}"
    made = Manifest(
        method="head",
        architecture="late_interaction",
        encoder=f"{VERSION}{id}" if encoder == "own" else encoder,
        encoder_fingerprint="0a1b2c3d",
        data=Data("events", 1),
        format=1,
        id=id,
        created_at=START + timedelta(minutes=number),
        libraries={},
        files={"head/model.safetensors": File(1, "0" * 64)},
    )
    store.storage.write(path_of(id), encode(made))
    return id


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-1, 8), min_size=1, max_size=10),
    st.lists(st.integers(0, 9), max_size=6),
    st.integers(0, 4),
    st.integers(0, 3),
)
def test_what_slots_history_and_encoders_need_stays(
    encoders: list[int], promoted: list[int], keep: int, history: int
) -> None:
    """Each version uses an earlier one's encoder, or its own where that is not to be."""
    store = ModelStore(f"memory://{uuid.uuid4().hex}", clock=lambda: START)
    ids: list[str] = []
    carriers: list[str] = []
    for number, wanted in enumerate(encoders):
        carrier = carriers[wanted] if 0 <= wanted < number else None
        ids.append(version(store, number, f"{VERSION}{carrier}" if carrier else "own"))
        carriers.append(carrier or ids[-1])
    order = [ids[number] for number in promoted if number < len(ids)]
    for id in order:
        store.slots.promote(id, "a test")
    stack = [id for place, id in enumerate(order) if place == 0 or order[place - 1] != id]
    needed = set(stack[-1 - history :]) | set(ids[max(0, len(ids) - keep) :])
    needed |= {carriers[ids.index(id)] for id in needed}
    planned = clear(store, keep=keep, history=history, grace_s=-1, dry_run=True)
    assert store.ids() == ids
    assert clear(store, keep=keep, history=history, grace_s=-1).versions == planned.versions
    assert set(store.ids()) == needed and set(planned.versions) == set(ids) - needed


def test_what_cannot_be_read_stops_it(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path), clock=lambda: START)
    ids = [version(store, number, "packaged") for number in range(3)]
    store.storage.write(path_of(ids[1]), b"{")
    with pytest.raises(StoreError, match="is no manifest"):
        clear(store, keep=0)
    assert store.ids() == ids


def test_one_hiccup_removes_no_champion_and_rolls_back_to_no_older_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that fails once is no answer to whether a version is there."""
    store = ModelStore(f"memory://{uuid.uuid4().hex}", clock=lambda: START)
    old, good, champion = (version(store, number, "packaged") for number in range(3))
    for id in (old, good, champion):
        store.slots.promote(id, "a test")
    info = store.storage.fs.info

    def stale(path: str, **options: object) -> object:
        if good in path or champion in path:
            raise OSError(116, "Stale file handle")
        return info(path, **options)

    monkeypatch.setattr(store.storage.fs, "info", stale)
    for broken in (lambda: clear(store, keep=0, history=0, grace_s=-1), lambda: store.slots.rollback("clicks fell")):
        with pytest.raises(OSError, match="Stale"):
            broken()
    with pytest.raises(OSError, match="Stale"):
        store.slots.promote(good, "again")
    monkeypatch.undo()
    assert set(store.ids()) == {old, good, champion}
    current = store.slots.read().current
    assert current is not None and current.version == champion
    rolled = store.slots.rollback("clicks fell").current
    assert rolled is not None and rolled.version == good
