"""Reads JSON as a stream of records: one object a line, an array, or a document that has a list in it.

Elements are decoded one at a time, so a file of any size is read in bounded memory, and each record has the number of
its line, which parsers of whole documents do not tell. Knows JSON; nothing of what it means.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from streams.events.adapters.gate import Entry, unread
from streams.events.adapters.source import MAX_LINE, Line, Source, SourceError
from streams.events.decode import Refusal, refuse

LISTS = {
    "products",
    "items",
    "events",
    "records",
    "rows",
    "results",
    "entries",
    "offers",
    "hits",
    "docs",
    "batch",
    "@graph",
}
"""Names of lists of records that exports use."""
CONTAINERS = {"data", "response", "result", "_embedded", "hits", "catalog", "feed"}
_OF_A_RECORD = {"type", "event", "event_id", "event_name", "item_id", "id", "sku", "title", "name", "@type"}
"""A document with one of these before its list is a record itself."""

_SPACES = re.compile(r"[ \t\r\n]*")

Step = str
"""A key of an object, or ``[]`` for each element of a list."""


def parsed(line: Line) -> dict[str, Any] | Refusal:
    """The JSON object on a line.

    Examples
    --------
    >>> parsed(Line(1, b'{"a": 1}')), parsed(Line(2, b"[1]"))
    ({'a': 1}, Refusal(reason='invalid', detail='Expected `object`, got `list`'))
    """
    try:
        record = msgspec.json.decode(line.raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return refuse("malformed", f"{type(error).__name__}: {error}")
    if not isinstance(record, dict):
        return refuse("invalid", f"Expected `object`, got `{type(record).__name__}`")
    return record


def lines(source: Source) -> Iterator[Entry | tuple[Line, dict[str, Any]]]:
    """The object on each line, or an entry that says why there is none."""
    for line in source.lines():
        record = parsed(line) if line.complete else too_long(line)
        yield Entry(line, record) if isinstance(record, Refusal) else (line, record)


def too_long(line: Line) -> Refusal:
    """Why a line that is not complete is refused."""
    return refuse("oversized", f"the line is longer than {len(line.raw)} bytes")


def is_document(sample: bytes) -> bool:
    """Whether JSON that begins like this is an array or a document, and not one record a line.

    Examples
    --------
    >>> [is_document(text) for text in (b'[{"a": 1}]', b'{"a": 1}\\n', b'{\\n "a": 1}', b'{"products": [{"a": 1}]}')]
    [True, False, True, True]
    """
    begin = sample.lstrip()
    first, _, rest = begin.partition(b"\n")
    if begin[:1] != b"{" or rest.lstrip().startswith(b"{"):
        return begin[:1] == b"["
    return bool(guessed_path(sample)) or isinstance(parsed(Line(1, first)), Refusal)


def guessed_path(sample: bytes) -> str:
    """The path to the records of JSON that begins like this; empty if the document is one itself.

    Examples
    --------
    >>> guessed_path(b'{"total": 2, "data": {"products": [{"id": 1}, '), guessed_path(b'{"type": "click", "items": [')
    ('data.products[]', '')
    """
    parts = iter([sample])
    document = _Document(lambda: next(parts, b""), "the file")
    try:
        return document.path()
    except (SourceError, RecursionError):
        return ""  # what is known of it is not enough


def steps(path: str) -> list[Step]:
    """A path such as ``data.products[]`` as steps.

    Raises
    ------
    ValueError
        When it is none.

    Examples
    --------
    >>> steps("data.products[]"), steps("[]")
    (['data', 'products', '[]'], ['[]'])
    """
    if not re.fullmatch(r"(?:[^.\[\]]+(?:\[\])?(?:\.|$)|\[\](?:\.|$))+", path) or path.endswith("."):
        raise ValueError(f"{path!r} is no path: write it as data.products[]")
    parts = path.replace("[]", ".[]").split(".")
    return [part for part in parts if part]


def elements(source: Source, path: str = "") -> Iterator[Entry | tuple[Line, dict[str, Any]]]:
    """The records of a document; without a path those of its array, or of the first list that is named as one.

    Raises
    ------
    SourceError
        When the file is damaged, or its JSON is malformed; the message has the line. When there is nothing at the path.
    """
    document = _Document(lambda: source.read(document.line), str(source.path))
    way = steps(path or guessed_path(source.sample)) if path or guessed_path(source.sample) else []
    try:
        while document.opens():
            for line, value in document.at(way):
                if isinstance(value, dict):
                    yield line, value
                else:
                    yield unread(line, "invalid", f"Expected `object`, got `{type(value).__name__}`")
    except RecursionError:
        raise SourceError(f"{source.path}, line {document.line:,}: the JSON is nested too deep") from None
    if path and not document.found:
        names = ", ".join(sorted(document.keys)[:20]) or "no names"
        raise SourceError(f"{source.path} has nothing at {path!r}; at its top are {names}")


class _Document:
    """A reader of JSON values, one after the other, that knows its line.

    Attributes
    ----------
    line : int
        The line of what comes next, from 1.
    found : bool
        Whether there was something at the path.
    keys : set of str
        The names at the top.
    """

    def __init__(self, read: Callable[[], bytes], name: str) -> None:
        self._read, self._name = read, name
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._at, self._ended = "", 0, False
        self._decode = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite).raw_decode
        self.line, self.found, self.keys = 1, False, set[str]()

    def opens(self) -> str:
        """The next letter that is no space; empty at the end."""
        while True:
            found = _SPACES.match(self._text, self._at)
            assert found is not None
            self.line += found[0].count("\n")
            self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def path(self) -> str:
        """The path to the first list that is named as one of records."""
        if self.opens() == "[":
            return "[]"
        if self.opens() != "{":
            return ""
        for _ in self._members("}"):
            key, opens = self._key(), self.opens()
            if key in _OF_A_RECORD:
                return ""
            if opens == "[" and key in LISTS:
                return f"{key}[]"
            if opens == "{" and key in CONTAINERS and (inside := self.path()):
                return f"{key}.{inside}"
            if opens not in "{" or key not in CONTAINERS:
                self._value()
        return ""

    def at(self, way: list[Step], depth: int = 0) -> Iterator[tuple[Line, Any]]:
        """The values at the end of a path."""
        opens = self.opens()
        if not way:
            self.found = True
            yield self._value()
        elif opens != ("[" if way[0] == "[]" else "{"):
            self._value()
        elif opens == "[":
            for _ in self._members("]"):
                yield from self.at(way[1:], depth + 1)
        else:
            for _ in self._members("}"):
                key = self._key()
                if depth == 0:
                    self.keys.add(key)
                if key == way[0]:
                    yield from self.at(way[1:], depth + 1)
                else:
                    self._value()

    def _members(self, closing: str) -> Iterator[None]:
        """One step for each element or member of the list or object that begins here."""
        self._at += 1
        if self.opens() == closing:
            self._at += 1
            return
        while True:
            yield
            after = self.opens()
            if after not in {",", closing} or after == "":
                raise self._malformed("expected a comma")
            self._at += 1
            if after == closing:
                return

    def _key(self) -> str:
        if self.opens() != '"':
            raise self._malformed("expected a name in double quotes")
        key = self._value()[1]
        if self.opens() != ":":
            raise self._malformed("expected a colon")
        self._at += 1
        return str(key)

    def _value(self) -> tuple[Line, Any]:
        """The value that begins here, and its text."""
        if not self.opens():
            raise self._malformed("it ends within a value")
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                if end < len(self._text) or self._ended or value.__class__ in {dict, list, str}:
                    break
            except ValueError as error:
                if len(self._text) - self._at > MAX_LINE:
                    raise self._malformed(f"no value within {MAX_LINE:,} letters") from error
                if not self._more():
                    raise self._malformed(str(error)) from error
                continue
            self._more()
        text = self._text[self._at : end]
        line = Line(self.line, text.encode("utf-8", "surrogateescape"))
        self.line += text.count("\n")
        self._at = end
        return line, value

    def _more(self) -> bool:
        """Read on; twice as far each time that a value is not complete."""
        parts, size = [self._text[self._at :]], 0
        while size <= len(parts[0]) and not self._ended:
            raw = self._read()
            self._ended = not raw
            parts.append(self._utf8.decode(raw, final=not raw))
            size += len(parts[-1])
        self._text, self._at = "".join(parts), 0
        return size > 0

    def _malformed(self, why: str) -> SourceError:
        return SourceError(
            f"{self._name}, line {self.line:,}: the JSON is malformed ({why}); what stands before it was read"
        )


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"{text[:50]} is beyond all numbers")
    return number


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
