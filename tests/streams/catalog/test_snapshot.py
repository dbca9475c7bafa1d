"""Snapshots of catalogues: what is read is what was written, changes stay in their process, and nothing wrong
is read."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.encoder import Encoder
from streams.catalog import snapshot as files
from streams.catalog.catalog import Catalog, Change
from streams.catalog.embedding import Embedding, Origin, text, text_hash
from streams.catalog.lexical_index import LexicalIndex, link_files
from streams.catalog.snapshot import LAYOUT, Meta, Snapshot, SnapshotError, Snapshots, Writer
from streams.catalog.topic_index import TopicIndex
from streams.events.filters import Filter
from streams.events.schema import Item

WORDS = ("tap", "hose", "valve", "pump", "pot", "rake")
IDS = [f"i{number}" for number in range(8)]


class Held:
    """A catalogue and its index of the topic, as a follower fills them."""

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self.catalogue, self.topic_index = Catalog(encoder), TopicIndex(encoder.version)
        folder.mkdir()
        self.catalogue.lexical = LexicalIndex(folder)

    def take(self, item_id: str, item: Item | None, vectors: bytes, offset: int) -> None:
        version, origin = self.catalogue.encoder.version, Origin(0, offset, offset)
        if item is None:
            self.topic_index.delete(item_id, version, origin)
            self.catalogue.apply([Change(item_id, None, origin)])
        else:
            self.topic_index.put(item_id, version, origin)
            embedding = Embedding(item, version, text_hash(text(item)), vectors)
            self.catalogue.apply([Change(item_id, embedding, origin)])

    def write(self, to: Path) -> Snapshot:
        """In this process."""
        to.mkdir()
        self.catalogue.commit()
        self.catalogue.lexical.copy_files(to / "words")
        writer = Writer(to)
        self.catalogue.save(writer)
        self.topic_index.save(writer)
        version = self.catalogue.encoder.version
        writer.finish(Meta(LAYOUT, version, "t", len(self.catalogue), int(time.time() * 1000), {0: 1}, {0: 1}))
        return Snapshot(to)

    def read(self, snapshot: Snapshot, folder: Path) -> "Held":
        """Another one, from a snapshot."""
        other, words = Held(self.catalogue.encoder, folder), folder / "words"
        words.mkdir()
        link_files(snapshot.folder / "words", words)
        other.catalogue.restore(snapshot, LexicalIndex(words))
        other.topic_index.restore(snapshot)
        return other

    def said(self) -> dict[str, object]:
        """All that shoppers can see of it."""
        catalogue, index = self.catalogue, self.topic_index
        catalogue.commit()
        slots = catalogue.slots(IDS)
        ids = catalogue.ids(slots)
        queries = np.random.default_rng(0).standard_normal((3, catalogue.encoder.dim)).astype(np.float32)
        filters = [Filter.of(asked) for asked in ({"brand": "acme"}, {"price": {"max": 3}}, {"colour": "red"})]
        return {
            "ids": ids,
            "items": [catalogue.item(slot) for slot in slots.tolist()],
            "newest": catalogue.ids(catalogue.newest(5)),
            "groups": dict(catalogue.groups) | {"": bool(catalogue.groups)},
            # Items of one title are equally near.
            "nearest": [list(map(catalogue.title, found.tolist())) for found in catalogue.vectors.search(queries, 9)],
            "words": {word: sorted(catalogue.ids(catalogue.lexical.search([word], 9))) for word in WORDS},
            "matching": [sorted(catalogue.ids(catalogue.matching(one).slots)) for one in filters],
            "stored": [catalogue.item_store.get(slot).to_bytes() for slot in slots.tolist()],
            "facts": [(catalogue.in_stock[slot], str(catalogue.price[slot])) for slot in slots.tolist()],
            "counts": (len(catalogue), catalogue.item_store.nbytes, len(catalogue.vectors), len(index)),
            "known": [index.known(item_id) for item_id in IDS],
            "complete": (index.complete, index.behind, sorted(index.outdated), index.encoders()),
        }


@pytest.fixture(scope="module")
def vectors(encoder: Encoder) -> Mapping[str, bytes]:
    """Encoded items by title."""
    return {word: one.to_bytes() for word, one in zip(WORDS, encoder.encode_items(list(WORDS)), strict=True)}


FIELDS = st.fixed_dictionaries(
    {
        "title": st.sampled_from(WORDS),
        "brand": st.sampled_from(["", "Acme", "Bolt"]),
        "price": st.one_of(st.none(), st.sampled_from([1.0, 5.0])),
        "in_stock": st.booleans(),
        "group_id": st.sampled_from([None, "g", "h"]),
        "attributes": st.sampled_from([{}, {"colour": "red"}]),
    }
)
STEPS = st.lists(st.tuples(st.sampled_from(IDS), st.one_of(st.none(), FIELDS)), max_size=12)


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, min_size=2, max_size=4))
def test_a_catalogue_that_was_read_goes_on_as_the_one_that_was_written(
    encoder: Encoder,
    vectors: Mapping[str, bytes],
    tmp_path: Path,
    stages: list[list[tuple[str, dict[str, object] | None]]],
) -> None:
    """After each stage it is written and read again; its changes since lie over the files."""
    here = tmp_path / os.urandom(4).hex()
    here.mkdir()
    plain, read, offset = Held(encoder, here / "plain"), Held(encoder, here / "read"), 0
    for number, steps in enumerate(stages):
        for item_id, fields in steps:
            offset += 1
            item = None if fields is None else msgspec.convert({"item_id": item_id, **fields}, Item)
            for held in (plain, read):
                held.take(item_id, item, vectors[item.title] if item else b"", offset)
        assert read.said() == plain.said()
        read = read.read(read.write(here / f"s{number}"), here / f"read{number}")
        assert read.said() == plain.said()
    shutil.rmtree(here)


def filled(encoder: Encoder, vectors: Mapping[str, bytes], folder: Path) -> Held:
    held = Held(encoder, folder)
    for number, word in enumerate(WORDS):
        held.take(IDS[number], Item(item_id=IDS[number], title=word), vectors[word], number)
    return held


def test_changes_stay_in_their_process_and_the_files_as_they_were(
    encoder: Encoder, vectors: Mapping[str, bytes], tmp_path: Path
) -> None:
    snapshot = filled(encoder, vectors, tmp_path / "first").write(tmp_path / "s")
    first = Held(encoder, tmp_path / "empty")
    one, other = (first.read(snapshot, tmp_path / name) for name in "ab")
    before = other.said()
    one.take("i0", None, b"", 100)
    one.take("i1", Item(item_id="i1", title="rake", price=9.0, in_stock=False), vectors["rake"], 101)
    one.take("i7", Item(item_id="i7", title="hose"), vectors["hose"], 102)
    one.catalogue.commit()
    assert other.said() == before != one.said()
    assert Snapshot(tmp_path / "s").meta == snapshot.meta, "no sum has changed"


def test_items_beyond_the_room_behind_the_arrays(
    encoder: Encoder, vectors: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ROOM", 2)
    first = filled(encoder, vectors, tmp_path / "first")
    read = first.read(first.write(tmp_path / "s"), tmp_path / "read")
    for held in (first, read):
        for number in range(1_100):
            word = WORDS[number % 6]
            held.take(f"n{number}", Item(item_id=f"n{number}", title=word), vectors[word], 100 + number)
    assert read.catalogue.ids(read.catalogue.newest(9)) == first.catalogue.ids(first.catalogue.newest(9))
    slots = np.arange(1_106)
    assert (read.catalogue.item_store.pooled(slots) == first.catalogue.item_store.pooled(slots)).all()
    assert len(read.catalogue) == 1_106 and len(read.catalogue.vectors) == 1_106


@pytest.mark.parametrize("how", ["cut", "zeroed", "changed", "missing", "layout", "meta"])
def test_what_is_damaged_or_of_another_layout_is_refused(
    encoder: Encoder, vectors: Mapping[str, bytes], tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "s"
    filled(encoder, vectors, tmp_path / "first").write(folder)
    victims = [path for path in folder.rglob("*") if path.is_file() and path.name != "mapped" and path.stat().st_size]
    for path in {"layout": [folder / "meta"], "meta": [folder / "meta"]}.get(how, victims):
        if path.name == files.UNCHECKED and how in ("zeroed", "changed"):
            continue
        kept = path.read_bytes()
        path.unlink()  # other links to it stay as they are
        used = next((place for place, byte in enumerate(kept) if byte), None)
        if how == "cut":
            path.write_bytes(kept[:-1])
        elif used is not None and how in ("zeroed", "changed", "meta"):
            path.write_bytes(kept[:used] + bytes([0 if how == "zeroed" else kept[used] ^ 4]) + kept[used + 1 :])
        elif how == "layout":
            meta = msgspec.msgpack.decode(kept[16:]) | {"layout": LAYOUT + 1}
            described = msgspec.msgpack.encode(meta)
            path.write_bytes(hashlib.blake2b(described, digest_size=16).digest() + described)
        if used is not None or how != "changed":
            with pytest.raises(SnapshotError):
                Snapshot(folder)
        path.write_bytes(kept)
    Snapshot(folder)


def wait(snapshots: Snapshots) -> None:
    until = time.monotonic() + 60
    while not snapshots.written():
        assert time.monotonic() < until
        time.sleep(0.01)


def begin(snapshots: Snapshots, save: Callable[[Writer], None], written_s: float | None = None) -> bool:
    now = snapshots.clock() if written_s is None else written_s
    meta = Meta(LAYOUT, snapshots.encoder, snapshots.topic, 1, int(now * 1000), {}, {})
    return snapshots.write(meta, lambda _: None, save)


def three(writer: Writer) -> None:
    writer.array("three", np.arange(3), 3)


def test_one_process_writes_and_old_generations_go_when_nobody_maps_them(tmp_path: Path) -> None:
    one, other = Snapshots(tmp_path, "e", "t"), Snapshots(tmp_path, "e", "t")
    assert one.newest() is None and one.age_s() is None
    read, held = os.pipe()
    assert begin(one, lambda writer: three(writer) if os.fstat(0) else None)
    wait(one)
    assert begin(one, lambda writer: (time.sleep(0.5), three(writer))[1])
    assert not begin(other, three), "another process is writing"
    first = other.newest()
    assert first is not None and first.folder.name == "00000001" and first.array("three")[:3].tolist() == [0, 1, 2]
    wait(one)
    second = one.newest()
    assert second is not None and second.folder.name == "00000002" and first.folder.exists(), "it is mapped"
    assert second.array("three")[3:].any() == np.False_
    del first
    assert begin(other, three)
    wait(other)
    assert sorted(path.name for path in one.folder.iterdir() if path.name.isdigit()) == ["00000002", "00000003"]
    os.close(read)
    os.close(held)


def test_a_snapshot_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots = Snapshots(tmp_path, "e", "t")

    def full(writer: Writer) -> None:
        three(writer)
        raise OSError("no space left")

    assert begin(snapshots, three)
    wait(snapshots)
    assert begin(snapshots, full)
    wait(snapshots)
    assert "could not be written: OSError: no space left" in caplog.text
    newest = snapshots.newest()
    assert newest is not None and newest.folder.name == "00000001"
    assert begin(snapshots, three)
    wait(snapshots)
    assert not list(snapshots.folder.glob("writing-*"))


def test_what_is_old_or_foreign_is_ignored_with_a_line_that_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots = Snapshots(tmp_path, "e", "t")
    assert Snapshots(tmp_path, "e2", "t").folder != snapshots.folder != Snapshots(tmp_path, "e", "t2").folder
    assert begin(snapshots, three, written_s=time.time() - files.KEPT_S - 60)
    wait(snapshots)
    assert snapshots.newest() is None and "it is 12 hours old" in caplog.text
    moved = Snapshots(tmp_path, "e2", "t")
    snapshots.folder.rename(moved.folder)
    assert moved.newest() is None and "of another encoder or topic" in caplog.text


def test_folders_of_processes_that_are_gone_are_removed(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, "e", "t")
    first, lock = Snapshots(tmp_path, "gone", "t").own_folder()
    second, other = snapshots.own_folder()
    assert first.exists() and second.exists()
    lock.close()
    third, another = snapshots.own_folder()
    assert not first.exists() and not first.parent.parent.exists() and second.exists() and third.exists()
    other.close()
    another.close()
