"""Caches encoded items on disk between runs, so that a second run on a catalogue starts at once.

Knows an encoder's version, texts and one file; nothing of what the items are for. An unreadable file is made again.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from models.encoded import EncodedError, EncodedItem
from models.encoder import Encoder

log = logging.getLogger(__name__)

ENCODE = 2_048
"""Texts encoded in one call."""

MOST = 200_000
"""Items in the file, about a gigabyte; the last requested ones stay."""


class ItemCache:
    """Encodes texts, and reads those that it has encoded before from its file.

    There is one file for each encoder version. It holds :data:`MOST` items, or all of the last call if these are more.

    Parameters
    ----------
    folder
        The file's folder; None stores nothing.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     encoder = Encoder()
    ...     first = ItemCache(encoder, Path(folder)).encode(["Garden hose", "Tap"])
    ...     again = ItemCache(encoder, Path(folder))
    ...     same = again.encode(["Tap"])
    >>> again.encoded, same[0].to_bytes() == first[1].to_bytes()
    (0, True)
    """

    def __init__(self, encoder: Encoder, folder: Path | None) -> None:
        self.encoder = encoder
        self.encoded = 0
        name = hashlib.blake2b(encoder.version.encode(), digest_size=8).hexdigest()
        self.file = folder / f"items-{name}.safetensors" if folder else None

    def encode(self, texts: Sequence[str]) -> list[EncodedItem]:
        """Items in the order of their texts."""
        known = self._read()
        keys = [_key(text) for text in texts]
        new = dict(zip(keys, texts, strict=True))
        new = {key: text for key, text in new.items() if key not in known}
        places = list(new)
        for start in range(0, len(places), ENCODE):
            some = places[start : start + ENCODE]
            encoded = self.encoder.encode_items([new[key] for key in some])
            known |= {key: item.to_bytes() for key, item in zip(some, encoded, strict=True)}
        self.encoded += len(new)
        if new:
            self._keep(known, keys)
        return [EncodedItem.from_bytes(known[key]) for key in keys]

    def keep(self, items: Mapping[str, bytes]) -> None:
        """Add items that the same encoder made elsewhere: bytes of :meth:`EncodedItem.to_bytes` by texts."""
        known = self._read()
        new = {_key(text): item for text, item in items.items()}
        if new.keys() - known.keys():
            self._keep(known | new, new)

    def _keep(self, known: Mapping[bytes, bytes], requested: Iterable[bytes]) -> None:
        """Write the requested items, and as many of the others as there is room for."""
        last = dict.fromkeys(requested)
        others = [key for key in known if key not in last]
        kept = others[max(0, len(others) + len(last) - MOST) :]
        self._write({key: known[key] for key in (*kept, *last)})

    def _read(self) -> dict[bytes, bytes]:
        if self.file is None or not self.file.is_file():
            return {}
        try:
            held = load_file(self.file)
            bounds = np.cumsum(held["lengths"])[:-1]
            rows = zip(held["keys"], np.split(held["items"], bounds), strict=True)
            found = {key.tobytes(): item.tobytes() for key, item in rows}
            for item in found.values():
                EncodedItem.from_bytes(item)
        except (OSError, SafetensorError, KeyError, ValueError, EncodedError) as error:
            log.warning("%s cannot be read, its items are encoded again: %s", self.file, error)
            return {}
        return found

    def _write(self, items: dict[bytes, bytes]) -> None:
        if self.file is None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            "keys": _matrix(items),
            "lengths": np.array([len(item) for item in items.values()], np.int64),
            "items": np.frombuffer(b"".join(items.values()), np.uint8),
        }
        handle, temporary = tempfile.mkstemp(dir=self.file.parent, suffix=".part")
        os.close(handle)
        try:
            save_file(arrays, temporary)
            Path(temporary).replace(self.file)
        finally:
            Path(temporary).unlink(missing_ok=True)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def _matrix(keys: Iterable[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)
