"""Reads a file once from start to end, in bounded memory: plain or compressed, here or at a URL, in any encoding.

Knows bytes and lines; nothing of what they mean. A line that cannot be read is marked; reading goes on.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from fsspec.core import url_to_fs

from streams.events.adapters.encoding import SAMPLE, Transcoded, detect, is_encoding, some

MAX_LINE = 8 * 1024 * 1024
"""The most bytes of a line that are kept; the rest of a longer line is skipped."""

BOM = b"\xef\xbb\xbf"
DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error)


class SourceError(OSError):
    """A file cannot be read to its end; the message names it and the line, and says what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line ending, or one CSV row of one or more lines; ``number`` is the first line's, from 1."""

    number: int
    raw: bytes
    complete: bool = True


class Source:
    """An open file or URL, plain, ``.gz``, ``.bz2`` or ``.xz``, as UTF-8.

    Parameters
    ----------
    path
        A path, or a URL of `fsspec`, such as ``s3://bucket/products.csv.gz``.
    encoding
        The text's encoding; ``auto`` looks at its beginning.

    Attributes
    ----------
    encoding : str
        The encoding in use.
    name : str
        The last part of the path or URL.
    sample : bytes
        The beginning, in UTF-8, without a byte-order mark.

    Raises
    ------
    SourceError
        When the URL's library is not installed, or there is no such encoding.
    OSError
        When it cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.txt.gz"
    >>> with gzip.open(path, "wb") as file: _ = file.write(b"one\\r\\ntwo")
    >>> with Source(path) as source: [line.raw for line in source.lines()]
    [b'one', b'two']
    """

    def __init__(self, path: Path | str, encoding: str = "auto") -> None:
        self.path = path
        self.name = str(path).rpartition("/")[2]
        self._packed, self.size = _opened(path)
        self.suffix = self.name.rpartition(".")[2].lower()
        unpacked_file = unpacked(self._packed, f".{self.suffix}")
        self.binary = cast(BufferedReader, unpacked_file if hasattr(unpacked_file, "peek") else None)
        if self.suffix == "parquet":
            self.encoding, self._file, self.sample = "binary", unpacked_file, b""
            return
        self._file = unpacked_file
        try:
            self._decode(encoding)
        except BaseException:
            self.close()
            raise

    def _decode(self, encoding: str) -> None:
        """Put the decoder, if one is needed, between the file and its lines, and skip a byte-order mark."""
        begin = self._begin(SAMPLE)
        self.encoding = detect(begin) if encoding == "auto" else encoding
        if not is_encoding(self.encoding):
            raise SourceError(
                f"there is no encoding {self.encoding!r}; names are as in utf-8, cp1252, shift_jis, gb18030"
            )
        whole = cast(IO[bytes], _Again(begin, self._file))
        if self.encoding.replace("_", "-") in {"utf-8", "utf8", "utf-8-sig", "ascii"}:
            self._file = BufferedReader(cast(RawIOBase, whole), 128 * 1024)
        else:
            self._file = BufferedReader(Transcoded(whole, self.encoding), 128 * 1024)
        if self._peek().startswith(BOM):
            self._file.read(len(BOM))
        self.sample = self._peek()

    def _begin(self, size: int) -> bytes:
        """The first bytes of the contents; those before a damage, if it is that near."""
        parts, left = [], size
        while left > 0:
            try:
                part = some(self._file, left)
            except DAMAGE:
                break  # told when the lines are read
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _peek(self) -> bytes:
        try:
            return cast(BufferedReader, self._file).peek()
        except DAMAGE:
            return b""  # told when the lines are read

    @property
    def position(self) -> int:
        """Bytes of the file read so far, compressed, out of ``size``; for a progress bar."""
        return 0 if self._packed.closed else self._packed.tell()

    def lines(self, *, blank: bool = False) -> Iterator[Line]:
        """Every line that is not blank or, with ``blank``, every line.

        Raises
        ------
        SourceError
            When the file is damaged; lines before the damage are yielded first.
        """
        number = 0
        while raw := self.read(number, line=True):
            number += 1
            complete = True
            if not raw.endswith(b"\n"):
                while rest := self.read(number, line=True):
                    complete = False
                    if rest.endswith(b"\n"):
                        break
            if blank or raw.strip():
                yield Line(number, raw.rstrip(b"\r\n"), complete)

    def read(self, whole: int, *, line: bool = False, size: int = 256 * 1024) -> bytes:
        """The next bytes or, with ``line``, the next piece of a line, after ``whole`` complete lines.

        Raises
        ------
        SourceError
            When the file is damaged.
        """
        try:
            return self._file.readline(MAX_LINE) if line else self._file.read(size)
        except DAMAGE as error:
            raise SourceError(
                f"{self.path} is damaged and cannot be read beyond line {whole:,} ({type(error).__name__}: {error}): "
                "fetch or pack it anew, and start again"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._packed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Again(RawIOBase):
    """Bytes that were read already, and then the rest of their file."""

    def __init__(self, begin: bytes, rest: IO[bytes]) -> None:
        self._begin, self._rest = begin, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._begin[: len(buffer)] or some(self._rest, len(buffer))
        self._begin = self._begin[len(part) :]
        buffer[: len(part)] = part
        return len(part)


def _opened(path: Path | str) -> tuple[IO[bytes], int]:
    """The file's bytes and how many there are; 0 where that is not known before."""
    if "://" not in str(path):
        local = Path(path)
        return local.open("rb"), local.stat().st_size
    try:
        system, inside = url_to_fs(str(path))
        return system.open(inside, "rb"), int(system.size(inside) or 0)
    except (ImportError, ValueError) as error:
        raise SourceError(f"{path} cannot be opened: {error}") from error


def unpacked(file: IO[bytes], suffix: str) -> IO[bytes]:
    """The file's uncompressed contents, by the suffix of its name."""
    if suffix == ".xz":
        return cast(IO[bytes], lzma.open(file, "rb"))
    if suffix == ".bz2":
        return cast(IO[bytes], bz2.open(file, "rb"))
    if suffix == ".gz":
        return cast(IO[bytes], gzip.open(file, "rb"))
    return file
