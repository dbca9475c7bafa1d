"""The folder on disk: whole files or none, one writer, any number of readers.

Lists, opens, writes and removes files; other modules decide which and when. A file is written elsewhere, synced and
renamed into place; the next writer removes what a killed writer left behind. Locks are the kernel's, so a dead process
never holds one.
"""

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluator.retraining.store.columns import SCHEMA
from evaluator.retraining.store.segment import Segment, not_replaced, stamp
from models.store.atomic import replacing, sync
from models.training.examples import ExamplesError

REHEARSAL = "rehearsal.parquet"
WRITER, REMOVAL = "writer.lock", "removal.lock"


class Folder:
    """The segments and the sample for rehearsal, below one path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._segments, self._partial = path / "segments", path / "partial"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer; first removes leftovers.

        Raises
        ------
        ExamplesError
            When there is another writer.
        """
        for folder in (self.path, self._segments, self._partial):
            folder.mkdir(parents=True, exist_ok=True)
            sync(folder.parent)
        (self.path / REMOVAL).touch()
        with (self.path / WRITER).open("ab") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ExamplesError(
                    f"another process writes to {self.path}: stop it, or give another folder"
                ) from error
            for left in self._partial.iterdir():
                left.unlink()
            found = self.segments()
            self.remove(found.keys() - set(not_replaced(found)))
            yield

    @contextmanager
    def removal_lock(self, *, exclusive: bool = False) -> Iterator[None]:
        """Hold the removal lock: shared, nothing is removed meanwhile; ``exclusive``, segments may be removed."""
        with ExitStack() as stack:
            if (self.path / REMOVAL).exists():
                held = stack.enter_context((self.path / REMOVAL).open("rb"))
                fcntl.flock(held, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield

    def segments(self, start: int | None = None) -> dict[Segment, int]:
        """Sizes in bytes of all segments, or of those of one span; replaced ones are included."""
        pattern = "*.parquet" if start is None else f"{stamp(start)}_*.parquet"
        with self.removal_lock():
            found = ((Segment.parse(path.name), path) for path in self._segments.glob(pattern))
            return {segment: path.stat().st_size for segment, path in found if segment is not None}

    def open(self, segment: Segment) -> Any:
        """A segment's Parquet file; it stays readable after removal."""
        return _opened(self._segments / segment.name)

    def write(self, segment: Segment, tables: Iterable[Any]) -> None:
        """Write a segment; it is synced to disk when this returns."""
        self._place(self._segments / segment.name, SCHEMA, tables)

    def remove(self, segments: Iterable[Segment]) -> None:
        """Remove segments; one that is already gone is no error."""
        gone = list(segments)
        if not gone:
            return
        with self.removal_lock(exclusive=True):
            for segment in gone:
                (self._segments / segment.name).unlink(missing_ok=True)
            sync(self._segments)

    def rehearsal(self) -> tuple[Any, int] | None:
        """The sample for rehearsal as a table, and its bound; None where there is none yet."""
        try:
            with _opened(self.path / REHEARSAL) as file:
                return file.read(), int(file.schema_arrow.metadata[b"bound"])
        except FileNotFoundError:
            return None

    def write_rehearsal(self, table: Any, bound: int) -> None:
        """Replace the sample for rehearsal."""
        stamped = table.replace_schema_metadata({"bound": str(bound)})
        self._place(self.path / REHEARSAL, stamped.schema, [stamped])

    def _place(self, target: Path, schema: Any, tables: Iterable[Any]) -> None:
        with (
            replacing(target, self._partial) as stream,
            pq.ParquetWriter(stream, schema, compression="zstd") as writer,
        ):
            for table in tables:
                writer.write_table(table)


def _opened(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ExamplesError(f"{path} is damaged: {error}. Remove it, and go on without it") from error
