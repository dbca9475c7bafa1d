"""What a store promises, of a folder and of any other URL: whole versions, found by name, handed out verified."""

import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from models.store import ModelStore, StoreError
from models.store.difference import diff
from models.store.errors import transient
from models.store.manifest import NAME, OWN, folder_of, path_of
from models.store.parts import parts
from tests.models.store.conftest import Put, description, filled, unreadable


def test_what_is_put_is_found_and_handed_out(store: ModelStore, put: Put) -> None:
    made = put(2.0, metrics={"ndcg": 0.9}, notes="first")
    assert store.ids() == [made.id] and store.manifest(made.id) == made
    folder = store.fetch(made.id)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {NAME} == set(
        made.files
    )
    assert parts(store, made.id[:15]).head == folder / "head"
    assert made.bytes == sum((folder / path).stat().st_size for path in made.files)


def test_ids_sort_by_time_and_tell_the_content(store: ModelStore, put: Put) -> None:
    made = [put(1.0), put(1.0), put(2.0)]
    assert store.ids() == [one.id for one in made]
    assert made[0].id[-8:] == made[1].id[-8:] != made[2].id[-8:]


def test_names_that_people_use(store: ModelStore, put: Put) -> None:
    first, second = put(1.0), put(2.0)
    store.slots.promote(second.id, "better")
    assert store.find("champion") == second.id
    assert store.find(first.id) == store.find(first.id[:15]) == first.id
    for name, said in (("2026", "may be any of"), ("1999", "No version"), ("", "No version"), ("../x", "No version")):
        with pytest.raises(StoreError, match=said):
            store.find(name)
    with pytest.raises(StoreError, match="There is no version"):
        store.manifest("20200101-000000-head-00000000")
    with pytest.raises(StoreError, match="no version id"):
        store.manifest("../../etc/passwd")


def test_versions_share_an_encoder_that_one_of_them_carries(store: ModelStore, put: Put) -> None:
    full = put(1.0, "encoder", "head", method="full", encoder=OWN)
    head = put(2.0, method="head", encoder=full.encoder, parent=full.id)
    assert full.encoder == f"version:{full.id}" and full.carrier == head.carrier == full.id
    assert store.encoder(head.id) == store.encoder(full.id) == str(store.fetch(full.id) / "encoder")
    assert store.encoder(put(3.0).id) == "packaged"
    assert diff(full, head).encoder == "shared"
    for about, said in (
        ({"encoder": full.encoder, "encoder_fingerprint": "ffffffff"}, "fingerprint"),
        ({"encoder": head.encoder.replace(full.id, head.id)}, "no encoder of its own"),
        ({"encoder": "version:20200101-000000-full-00000000"}, "There is no version"),
        ({"encoder": OWN}, "is no encoder/"),
    ):
        with pytest.raises(StoreError, match=said):
            put(4.0, **about)
    with pytest.raises(StoreError, match="is encoder/"):
        put(5.0, "encoder", "head")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("head/pytorch_model.bin", "pickle"),
        ("head/optimizer.pt", "pickle"),
        ("head/run.py", "may not be in a version"),
        ("notes.json", "none of the folders"),
        ("elsewhere/model.safetensors", "none of the folders"),
        ("adapter/config.json", "no \\*.safetensors"),
    ],
)
def test_what_may_not_be_in_a_version_is_not_put(store: ModelStore, tmp_path: Path, name: str, said: str) -> None:
    folder = filled(tmp_path / "made")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(StoreError, match=said):
        store.put(folder, description())
    with pytest.raises(StoreError, match="nothing to put"):
        store.put(tmp_path / "nothing", description())
    assert store.ids() == []


def test_reports_stand_beside_the_parts_and_are_checked_like_them(store: ModelStore, tmp_path: Path) -> None:
    folder = filled(tmp_path / "made")
    for name in ("gate.json", "trigger.json"):
        (folder / name).write_bytes(b"{}")
    made = store.put(folder, description())
    assert {"gate.json", "trigger.json"} < set(made.files)
    damage(store, f"{folder_of(made.id)}/gate.json", lambda _: b"[]")
    with pytest.raises(StoreError, match=r"gate\.json"):
        store.fetch(made.id)
    (folder / "head" / "gate.json").write_bytes(b"{}")
    for path in (folder / "head").iterdir():
        path.unlink()
    (folder / "head").rmdir()
    with pytest.raises(StoreError, match="nothing to put"):
        store.put(folder, description())


def damage(store: ModelStore, name: str, change: Callable[[bytes], bytes | None]) -> None:
    changed = change(store.storage.read(name))
    if changed is None:
        store.storage.remove(name)
    else:
        store.storage.write(name, changed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is not what was put"),
        (lambda data: data[:-1], "bytes, its manifest says"),
        (lambda data: data + b"\0", "bytes, its manifest says"),
        (lambda _: None, "is missing"),
    ],
    ids=["a bit", "cut", "longer", "gone"],
)
def test_a_file_that_is_not_what_was_put_is_refused_by_name(
    store: ModelStore, put: Put, change: Callable[[bytes], bytes | None], said: str
) -> None:
    made = put()
    damage(store, f"{folder_of(made.id)}/head/model.safetensors", change)
    with pytest.raises(StoreError, match=f"head/model.safetensors.*{said}") as refused:
        store.fetch(made.id)
    assert transient(refused.value) == (said == "is missing")


def test_a_version_that_cannot_be_read_is_not_refused(local: ModelStore, tmp_path: Path) -> None:
    made = local.put(filled(tmp_path / "one"), description())
    for name in (NAME, "head/model.safetensors"):
        with unreadable(tmp_path / "store" / folder_of(made.id) / name), pytest.raises((StoreError, OSError)) as lost:
            local.fetch(made.id)
        assert transient(lost.value), name
    local.fetch(made.id)


@pytest.mark.parametrize("name", ["head/code.bin", "head/more.safetensors", "evil.json"])
def test_a_file_that_nobody_put_is_refused(store: ModelStore, put: Put, name: str) -> None:
    made = put()
    store.storage.write(f"{folder_of(made.id)}/{name}", b"x")
    with pytest.raises(StoreError, match=name):
        store.fetch(made.id)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], "is no manifest"),
        (lambda text: text.replace('"format": 1', '"format": 99'), "Use a newer release"),
        (lambda text: text.replace('"head/config.json"', '"../config.json"'), "no plain relative path"),
        (lambda text: text.replace('"head/config.json"', '"/etc/config.json"'), "no plain relative path"),
        (lambda text: text.replace('"bytes"', '"octets"'), "is no manifest"),
        (lambda text: text.replace("-head-", "-lora-"), "is of another version"),
    ],
)
def test_a_manifest_that_is_not_the_versions_is_refused(
    store: ModelStore, put: Put, change: Callable[[str], str], said: str
) -> None:
    made = put()
    damage(store, path_of(made.id), lambda data: change(data.decode()).encode())
    with pytest.raises(StoreError, match=said):
        store.fetch(made.id)


def test_a_copy_of_a_distant_version_heals(tmp_path: Path, clock: Callable[[], datetime]) -> None:
    store = ModelStore("memory://heals", cache_folder=tmp_path / "cache", clock=clock)
    made = store.put(filled(tmp_path / "made"), description())
    file = store.fetch(made.id) / "head" / "model.safetensors"
    good = file.read_bytes()
    for broken in (good[:-1], b"", b"\0" * len(good)):
        file.write_bytes(broken)
        assert (store.fetch(made.id) / "head" / "model.safetensors").read_bytes() == good
    (file.parent / "evil.bin").write_bytes(b"x")
    assert not (store.fetch(made.id) / "head" / "evil.bin").exists()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [made.id]


def test_links_are_followed_when_put_and_do_not_lead_out_afterwards(local: ModelStore, tmp_path: Path) -> None:
    outside = filled(tmp_path / "outside", 3.0)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "head").symlink_to(outside / "head")
    made = local.put(tmp_path / "linked", description())
    folder = local.fetch(made.id)
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    file = folder / "head" / "model.safetensors"
    file.unlink()
    (tmp_path / "other").write_bytes(b"z" * made.files["head/model.safetensors"].bytes)
    file.symlink_to(tmp_path / "other")
    with pytest.raises(StoreError, match="is a link"):
        local.fetch(made.id)


def test_numbers_that_json_cannot_carry_are_refused() -> None:
    with pytest.raises(ValueError, match="metric loss"):
        description(metrics={"loss": float("nan")})


def test_urls_that_nothing_understands_are_told() -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        ModelStore("warehouse://models")


def test_a_difference_names_what_changed(store: ModelStore, put: Put) -> None:
    first: Any = put(1.0, metrics={"ndcg": 0.5})
    second: Any = put(2.0, metrics={"ndcg": 0.6, "ece": 0.1}, notes="longer", parent=first.id)
    found = diff(first, second)
    assert set(found.fields) == {"parent", "notes"} and set(found.metrics) == {"ndcg", "ece"}
    assert found.metrics["ece"].before is None and list(found.files) == ["head/model.safetensors"]


@pytest.mark.parametrize("what", ["file", "folder", "manifest", "version"])
def test_a_link_in_a_local_store_is_refused_though_all_hashes_fit(local: ModelStore, tmp_path: Path, what: str) -> None:
    made = local.put(filled(tmp_path / "one"), description())
    folder = tmp_path / "store" / "versions" / made.id
    place = {
        "file": folder / "head" / "model.safetensors",
        "folder": folder / "head",
        "manifest": folder / "manifest.json",
        "version": folder,
    }[what]
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        local.fetch(made.id)


def test_a_link_among_the_slots_is_refused_and_the_store_may_be_one(local: ModelStore, tmp_path: Path) -> None:
    made = local.put(filled(tmp_path / "one"), description())
    local.slots.promote(made.id, "a test")
    (tmp_path / "link").symlink_to(tmp_path / "store")
    assert ModelStore(str(tmp_path / "link")).find("champion") == made.id
    slot = tmp_path / "store" / "slots" / "champion.json"
    slot.rename(tmp_path / "slot.json")
    slot.symlink_to(tmp_path / "slot.json")
    with pytest.raises(StoreError, match="is a link"):
        local.slots.read()


def test_a_cached_version_with_a_link_is_fetched_anew(tmp_path: Path) -> None:
    distant = ModelStore(f"memory://{uuid.uuid4().hex}", cache_folder=tmp_path / "cache")
    made = distant.put(filled(tmp_path / "one"), description())
    file = distant.fetch(made.id) / "head" / "model.safetensors"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert not (distant.fetch(made.id) / "head" / "model.safetensors").is_symlink()
