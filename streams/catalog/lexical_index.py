"""Finds items that share words with a query, in an index that can change while it serves.

Keeps slots (the catalogue's row numbers) and word pieces in one index of tantivy, in memory or in a folder. The word
pieces are the model's, so every language that the model reads can be searched. This module never splits or lowercases
text, and never parses a query: a shopper's text cannot be query syntax.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from threading import Lock

import numpy as np
import tantivy
from cachetools import LRUCache
from numpy.typing import NDArray

Slots = NDArray[np.int64]

_HEAP_BYTES = 15_000_000
_MOST_PIECES = 16
_MOST_POSTINGS = 80_000

DESCRIPTIONS = frozenset(("meta.json", ".managed.json"))
"""The files that tantivy writes anew at every commit; all others stay as they are until they are removed."""

COPIES_TRIED = 5

ANSWERS_KEPT = 5_000
"""So many answers are remembered while the index does not change: a shopper's newest query comes with each event."""


class LexicalIndex:
    """BM25 over word pieces; any of them may match.

    Changes are visible after ``commit``. A query is searched by its rarest pieces: at most sixteen, and at most 80,000
    occurrences of them among all items, so its cost does not grow with the catalogue. One thread searches;
    any thread may change and commit, and no search waits for that.

    Parameters
    ----------
    folder
        Where the index's files lie; those that are there are read. Without it they lie in memory.

    Raises
    ------
    OSError
        When a file cannot be read or written, here and from each change and commit. What was changed since the last
        commit is lost then, also if a later one succeeds.

    Examples
    --------
    >>> index = LexicalIndex()
    >>> index.put(7, ["wi", "##fi", "router"])
    >>> index.put(8, ["usb", "cable"])
    >>> index.commit()
    >>> index.search(["wi", "##fi"], 5).tolist()
    [7]
    >>> index.drop(7)
    >>> index.commit()
    >>> index.search(["wi", "##fi", "cable"], 5).tolist()
    [8]
    """

    def __init__(self, folder: Path | None = None) -> None:
        builder = tantivy.SchemaBuilder()
        # A signed field: tantivy-py deletes by signed terms, which silently deletes nothing from an unsigned field.
        builder.add_integer_field("slot", indexed=True, fast=True)
        builder.add_text_field("pieces", tokenizer_name="raw", index_option="freq")
        self._schema = builder.build()
        self._folder = folder
        with _files():
            self._index = tantivy.Index(self._schema, path=None if folder is None else str(folder))
            # By default the reader reloads in its own thread, and the two threads wait 100 ms for each other's lock.
            self._index.config_reader("manual")
            self._writer = self._index.writer(_HEAP_BYTES, 1)
            self._searcher = self._index.searcher()
        self._changed = False
        self._lock = Lock()
        self._answers: LRUCache[tuple[tuple[str, ...], int], Slots] = LRUCache(ANSWERS_KEPT)

    def put(self, slot: int, pieces: Sequence[str]) -> None:
        """Add an item, in place of what its slot held. Visible after ``commit``."""
        document = tantivy.Document()
        document.add_integer("slot", slot)
        for piece in map(_encodable, pieces):
            document.add_text("pieces", piece)
        with self._lock, _files():
            self._drop(slot)
            self._writer.add_document(document)

    def drop(self, slot: int) -> None:
        """Remove a slot; a slot that is not there is no error. Visible after ``commit``."""
        with self._lock, _files():
            self._drop(slot)

    def _drop(self, slot: int) -> None:
        self._writer.delete_documents_by_term("slot", slot)
        self._changed = True

    def commit(self) -> None:
        """Make all changes visible. Takes milliseconds, so call it once per batch. Free if nothing changed."""
        with self._lock, _files():
            if self._changed:
                self._writer.commit()
                self._index.reload()
                self._searcher = self._index.searcher()
                self._answers = LRUCache(ANSWERS_KEPT)
                self._changed = False

    def copy_files(self, to: Path) -> None:
        """Let a new folder hold the files as of the last ``commit``: links, as no file of a segment ever changes.

        Raises
        ------
        OSError
            When the files cannot be linked, or are only in memory.
        """
        if self._folder is None:
            raise OSError("the lexical index is only in memory")
        for _ in range(COPIES_TRIED):
            to.mkdir()
            with suppress(FileNotFoundError, ValueError):  # a merge that ends just now removes files
                link_files(self._folder, to)
                copied = tantivy.Index.open(str(to))
                copied.config_reader("manual")
                if copied.searcher().num_docs == len(self):
                    return
            shutil.rmtree(to)
        raise OSError(f"the lexical index in {self._folder} changes faster than it is copied")

    def search(self, pieces: Sequence[str], k: int, among: Sequence[int] | None = None) -> Slots:
        """Slots of the items that share pieces with the query, the best BM25 first.

        Parameters
        ----------
        pieces
            The query's word pieces; each counts once.
        k
            At most how many slots.
        among
            The slots to search, if not all; each takes some 15 µs.

        Returns
        -------
        numpy.ndarray
            At most ``k`` distinct slots, int64, which is not to be changed.
        """
        asked = tuple(pieces), k
        if among is not None:
            return self._search(pieces, k, among)
        answers = self._answers  # those of before a commit that ends meanwhile
        found = answers.get(asked)
        if found is None:
            found = answers[asked] = self._search(pieces, k, None)
            found.flags.writeable = False
        return found

    def _search(self, pieces: Sequence[str], k: int, among: Sequence[int] | None) -> Slots:
        searcher = self._searcher  # an address means nothing to that of a commit that ends meanwhile
        wanted = _rarest(searcher, set(map(_encodable, pieces)))
        if not wanted or k < 1:
            return np.empty(0, dtype=np.int64)
        query = tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Should, tantivy.Query.term_query(self._schema, "pieces", piece, "freq"))
                for piece in wanted
            ]
        )
        if among is not None:
            # Of no weight, so that scores are the same with and without it.
            named = tantivy.Query.const_score_query(tantivy.Query.term_set_query(self._schema, "slot", among), 0.0)
            query = tantivy.Query.boolean_query([(tantivy.Occur.Must, query), (tantivy.Occur.Must, named)])
        # Without the count tantivy skips blocks that cannot reach the top k.
        hits = searcher.search(query, k, count=False).hits
        return np.array(searcher.fast_field_values("slot", [address for _, address in hits]), dtype=np.int64)

    def __len__(self) -> int:
        """The number of items, as of the last ``commit``."""
        return int(self._searcher.num_docs)


def link_files(folder: Path, to: Path) -> None:
    """Let a folder hold an index's files as another one does; what one of them changes later the other does not see."""
    for path in folder.iterdir():
        if path.name in DESCRIPTIONS:
            shutil.copyfile(path, to / path.name)
    for path in folder.iterdir():
        if path.suffix and path.name not in DESCRIPTIONS and not path.name.startswith("."):
            (to / path.name).hardlink_to(path)


def _rarest(searcher: tantivy.Searcher, pieces: set[str]) -> list[str]:
    counted = sorted((searcher.doc_freq("pieces", piece), piece) for piece in pieces)
    held = [(count, piece) for count, piece in counted if count][:_MOST_PIECES]
    postings = accumulate(count for count, _ in held)
    return [
        piece
        for place, ((_, piece), total) in enumerate(zip(held, postings, strict=True))
        if not place or total <= _MOST_POSTINGS
    ]


@contextmanager
def _files() -> Iterator[None]:
    """Raise tantivy's errors, which it gives as ValueError, as what they are: a file cannot be read or written."""
    try:
        yield
    except ValueError as error:
        raise OSError(str(error)) from error


def _encodable(piece: str) -> str:
    """The piece with lone surrogates replaced: they have no UTF-8 form for tantivy to take."""
    return piece.encode("utf-8", "replace").decode()
