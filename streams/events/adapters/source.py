"""Reads a file of lines, plain or compressed, once from start to end, in bounded memory.

Knows bytes, lines and CSV rows; nothing of what they mean. A line that cannot be read is marked; reading goes on.
"""

import csv
import gzip
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

MAX_LINE = 8 * 1024 * 1024
"""The most bytes of a line that are kept; the rest of a longer line is skipped."""

BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")


class SourceError(OSError):
    """A file cannot be read to its end; the message names it and the line, and says what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line ending, or one CSV row of one or more lines; ``number`` is the first line's, from 1."""

    number: int
    raw: bytes
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """One CSV row with its original text; ``error`` says why it has no cells."""

    line: Line
    cells: list[str]
    error: str = ""


class Source:
    """An open file, plain, ``.gz`` or ``.xz``.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.txt.gz"
    >>> with gzip.open(path, "wb") as file: _ = file.write(b"one\\r\\ntwo")
    >>> with Source(path) as source: [line.raw for line in source.lines()]
    [b'one', b'two']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._packed: BufferedReader = path.open("rb")
        self._file: IO[bytes] = unpacked(self._packed, path.suffix)

    @property
    def position(self) -> int:
        """Bytes of the file read so far, compressed, out of ``size``; for a progress bar."""
        return 0 if self._packed.closed else self._packed.tell()

    def lines(self, *, blank: bool = False) -> Iterator[Line]:
        """Every line that is not blank or, with ``blank``, every line.

        Raises
        ------
        SourceError
            When the file is UTF-16 or damaged; lines before the damage are yielded first.
        """
        number = 0
        while raw := self._read(number):
            number += 1
            complete = True
            if not raw.endswith(b"\n"):
                while rest := self._read(number):
                    complete = False
                    if rest.endswith(b"\n"):
                        break
            if number == 1:
                if raw.startswith(UTF16):
                    raise SourceError(
                        f"{self.path} is UTF-16: convert it to UTF-8 first, as iconv -f UTF-16 -t UTF-8 does"
                    )
                raw = raw.removeprefix(BOM)
            if blank or raw.strip():
                yield Line(number, raw.rstrip(b"\r\n"), complete)

    def rows(self, delimiter: str = ",") -> Iterator[Row]:
        """Every row of a CSV file that is not blank, its header first; errors as for `lines`.

        A quote that is never closed loses the row it began in, up to csv's field limit, and not the whole file.
        """
        taken: list[Line] = []
        reader = csv.reader(self._text(taken), delimiter=delimiter)
        while True:
            taken.clear()
            error = ""
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as problem:
                cells, error = [], str(problem)
            raw = b"\n".join(line.raw for line in taken)
            line = Line(taken[0].number if taken else 0, raw, all(line.complete for line in taken))
            if not (error or raw.strip()):
                continue
            if not error:
                error = "" if _is_utf8(raw) else "the row is not UTF-8"
            yield Row(line, cells, error)

    def _read(self, whole: int) -> bytes:
        """The next piece of a line, after ``whole`` complete lines."""
        try:
            return self._file.readline(MAX_LINE)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise SourceError(
                f"{self.path} is damaged and cannot be read beyond line {whole:,} ({type(error).__name__}: {error}): "
                "fetch or pack it anew, and start again"
            ) from error

    def _text(self, taken: list[Line]) -> Iterator[str]:
        for line in self.lines(blank=True):
            taken.append(line)
            yield line.raw.decode("utf-8", "surrogateescape") + "\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._packed.close()


def unpacked(file: BufferedReader, suffix: str) -> IO[bytes]:
    """The file's uncompressed contents, by the suffix of its name."""
    if suffix == ".xz":
        return cast(IO[bytes], lzma.open(file, "rb"))
    if suffix == ".gz":
        return cast(IO[bytes], gzip.open(file, "rb"))
    return file


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
        return True
    except UnicodeDecodeError:
        return False
