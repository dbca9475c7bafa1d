"""Finds the encoding of a file's text, and turns it into UTF-8 while it is read, in bounded memory.

Knows bytes; nothing of lines or formats.
"""

import codecs
import io
import re
from typing import IO, cast

from charset_normalizer import from_bytes

SAMPLE = 256 * 1024
"""Bytes that are looked at."""

_MARKS = [
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})["']""")
_LEGACY = ["cp932", "gb18030", "big5", "euc_kr", "euc_jp", "cp1251", "cp1252", "cp1250", "cp1253", "cp1254", "koi8_r"]
"""Encodings that exports come in and that are looked for; a few others would win where little text tells."""

_WIDER = {"shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030", "iso8859-1": "cp1252"}
"""Encodings that hold all of another, as labels often name the narrow one."""

_LATIN = {"cp1250", "cp1252", "cp1254"}
_WESTERN = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝŸŒŠŽàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœšžßƒ")
_SYMBOLS = frozenset("°€£§«»“”\u2018\u2019„\u2013—…·•™®©½¼¡\u00a0")
_NOT_WESTERN = ({"ø", "ì"}, {"ø", "è"}, {"ø", "ù"}, {"ø", "ò"}, {"õ", "û"})
"""Letters that no language of the west has both: Czech and Hungarian, read as western."""


def is_encoding(name: str) -> bool:
    """Whether there is a text encoding of this name.

    Examples
    --------
    >>> is_encoding("Shift-JIS"), is_encoding("rot13"), is_encoding("none")
    (True, False, False)
    """
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False


def detect(sample: bytes) -> str:
    """The encoding of a text that begins like this, by its mark, its XML declaration, or its letters.

    Examples
    --------
    >>> detect("Größe".encode()), detect("Größe".encode("utf-16")), detect("商品名,価格".encode("cp932") * 9)
    ('utf-8', 'utf-16', 'cp932')
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if (declared := _DECLARED.match(sample)) and is_encoding(declared[1].decode()):
        return _normal(declared[1].decode())
    if wide := _without_mark(sample):
        return wide
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # the sample may end within a letter
        return "utf-8"
    except UnicodeDecodeError:
        lines = [line for line in sample.split(b"\n")[:-1] or [sample] if not line.isascii()]
        if 2 * sum(map(_is_utf8, lines)) > len(lines):
            return "utf-8"  # with bad lines in it, which are refused alone
        text = b"\n".join(lines)[:20_000]
        best = from_bytes(text, cp_isolation=_LEGACY, threshold=0.5).best()
        if best is None:
            return "utf-8"
        return "cp1252" if best.encoding in _LATIN and _is_western(text.decode("cp1252", "replace")) else best.encoding


def _without_mark(sample: bytes) -> str:
    """UTF-16 without its mark: every other byte of letters such as commas and quotes is zero."""
    if len(sample) < 8 or b"\0" not in sample:
        return ""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if odd > 0.3 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.3 * half and odd < 0.05 * half else ""


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_western(text: str) -> bool:
    """Whether a text of single bytes reads as one of western Europe; short ones fit other encodings as well."""
    before_letters = set(re.findall(r"[^\x00-\x7f](?=[^\W\d_])", text))
    letters = {letter.lower() for letter in text if letter in _WESTERN}
    return before_letters <= _WESTERN | _SYMBOLS and not any(pair <= letters for pair in _NOT_WESTERN)


def _normal(name: str) -> str:
    found = codecs.lookup(name).name
    return _WIDER.get(found, found)


def some(file: IO[bytes], size: int) -> bytes:
    """The next bytes, as many as one reading gives: a larger one would lose those before a damage."""
    return cast(bytes, getattr(file, "read1", file.read)(size))


class Transcoded(io.RawIOBase):
    """A file in another encoding as UTF-8; what cannot be decoded becomes U+FFFD.

    Examples
    --------
    >>> file = io.BufferedReader(Transcoded(io.BytesIO("Größe\\n".encode("latin-1")), "latin-1"))
    >>> file.readline().decode()
    'Größe\\n'
    """

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._left = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer; 0 at the end."""
        while not self._left:
            raw = some(self._file, 64 * 1024)
            self._left = self._decoder.decode(raw, final=not raw).encode()
            if not raw and not self._left:
                return 0
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
