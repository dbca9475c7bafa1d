"""Compares two versions by their manifests. Values in, values out."""

from typing import Any

import msgspec

from models.store.manifest import Manifest

COMPARED = ("method", "architecture", "parent", "encoder", "encoder_fingerprint", "notes")


class Change(msgspec.Struct, frozen=True):
    """A field's value in the first version and in the second; null if it has none."""

    before: Any
    after: Any


class Difference(msgspec.Struct, frozen=True):
    """The differences from version ``a`` to version ``b``; metrics are listed even if they are equal.

    ``encoder`` is ``"shared"`` if both versions can use the same encoded items, else ``"new"``. ``files`` are those
    added, removed or changed, with their bytes.
    """

    a: str
    b: str
    encoder: str
    fields: dict[str, Change]
    data: dict[str, Change]
    metrics: dict[str, Change]
    libraries: dict[str, Change]
    files: dict[str, Change]
    bytes: Change


def diff(a: Manifest, b: Manifest) -> Difference:
    """The differences from one version to another.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from models.store.manifest import Data
    >>> def made(id: str, ndcg: float) -> Manifest:
    ...     return Manifest(
    ...         method="head", architecture="late_interaction", encoder="packaged", encoder_fingerprint="0a1b2c3d",
    ...         data=Data("events", 10), metrics={"ndcg": ndcg}, format=1, id=id, created_at=datetime.now(UTC),
    ...         libraries={}, files={})
    >>> found = diff(made("a", 0.5), made("b", 0.75))
    >>> found.encoder, found.metrics, found.fields
    ('shared', {'ndcg': Change(before=0.5, after=0.75)}, {})
    """
    ours, theirs = msgspec.to_builtins(a), msgspec.to_builtins(b)
    files = _changed(a.files, b.files)
    return Difference(
        a=a.id,
        b=b.id,
        encoder="shared" if a.encoder_fingerprint == b.encoder_fingerprint else "new",
        fields=_changed({name: ours[name] for name in COMPARED}, {name: theirs[name] for name in COMPARED}),
        data=_changed(ours["data"], theirs["data"]),
        metrics=_both(a.metrics, b.metrics),
        libraries=_changed(a.libraries, b.libraries),
        files={path: Change(_bytes(change.before), _bytes(change.after)) for path, change in files.items()},
        bytes=Change(a.bytes, b.bytes),
    )


def _both(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Change]:
    return {name: Change(a.get(name), b.get(name)) for name in sorted(a.keys() | b.keys())}


def _changed(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Change]:
    return {name: change for name, change in _both(a, b).items() if change.before != change.after}


def _bytes(file: Any) -> int | None:
    return file.bytes if file else None
