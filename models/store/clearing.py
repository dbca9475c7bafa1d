"""Removes versions that are no longer needed, and the files of writers that died.

Knows a store's manifests and slots; removes nothing that a slot, its latest history or a kept version needs.
"""

import time
from collections.abc import Collection

import msgspec

from models.store import manifest
from models.store.manifest import Manifest
from models.store.storage import TEMPORARY
from models.store.store import ModelStore

KEEP = 10
HISTORY = 3
GRACE_S = 3_600.0


class Cleared(msgspec.Struct, frozen=True):
    """What was removed, or would be: versions, unfinished leftovers by path, and the bytes of both together."""

    versions: tuple[str, ...]
    leftovers: tuple[str, ...]
    bytes: int


def clear(
    store: ModelStore,
    *,
    keep: int = KEEP,
    history: int = HISTORY,
    grace_s: float = GRACE_S,
    pinned: Collection[str] = (),
    dry_run: bool = False,
) -> Cleared:
    """Remove versions that are no longer needed, and leftovers.

    These stay: in each slot, including the challenger's, the current version and the last ``history`` before it; the
    newest ``keep`` versions; the pinned ones; and every version whose encoder one of these uses. Parents need not stay.

    Parameters
    ----------
    keep, history
        How many versions.
    grace_s
        Leftovers younger than this stay: another process may be writing them.
    pinned
        Versions that settings name.
    dry_run
        Only return what would be removed.

    Raises
    ------
    StoreError
        When a manifest or a slot cannot be read: its needs are unknown, so nothing is removed.

    Examples
    --------
    >>> clear(ModelStore("memory://clearing-example"))
    Cleared(versions=(), leftovers=(), bytes=0)
    """
    with store.storage.locked():
        versions = [store.manifest(version) for version in store.ids()]
        needed = _needed(store, versions, keep, history, pinned)
        # Versions that carry an encoder are removed last, so that no version outlives the encoder it names.
        going = sorted((one for one in versions if one.id not in needed), key=lambda one: one.carrier == one.id)
        leftovers = _leftovers(store, {one.id for one in versions} | needed, time.time() - grace_s)
        paths = [manifest.folder_of(one.id) for one in going] + leftovers
        size = sum(sum(store.storage.sizes(path).values()) for path in paths)
        if not dry_run:
            for one in going:
                store.storage.remove(manifest.path_of(one.id))
            for path in paths:
                store.storage.remove(path)
    return Cleared(tuple(one.id for one in going), tuple(leftovers), size)


def _needed(store: ModelStore, versions: list[Manifest], keep: int, history: int, pinned: Collection[str]) -> set[str]:
    newest = sorted(versions, key=lambda one: (one.created_at, one.id), reverse=True)
    needed = {*pinned, *(one.id for one in newest[:keep])}
    for name in store.slots.names():
        slot = store.slots.read(name)
        before = slot.history[-history:] if history else ()
        needed |= {past.version for past in (*before, slot.current) if past is not None}
    return needed | {one.carrier for one in versions if one.id in needed and one.carrier}


def _leftovers(store: ModelStore, known: set[str], before: float) -> list[str]:
    """Folders of no known version, and half-written files, last touched before a time."""
    folders = [f"{manifest.FOLDER}/{name}" for name in store.storage.children(manifest.FOLDER) if name not in known]
    halves = [f"{TEMPORARY}/{name}" for name in store.storage.children(TEMPORARY)]
    found = []
    for path in folders + halves:
        try:
            if store.storage.modified(path) < before:
                found.append(path)
        except FileNotFoundError:  # finished, and renamed into place, while we looked
            continue
    return found
