"""Reads XML feeds as a stream of records: RSS, Atom, and others whose elements repeat.

Entities of a document's own are refused, so that none can grow or read files; those of HTML are taken. One element is
held at a time. Knows XML; nothing of what the names mean.
"""

import html
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

import msgspec

from streams.events.adapters.gate import Entry, unread
from streams.events.adapters.source import MAX_LINE, Line, Source, SourceError

ELEMENTS = {"item", "entry", "product", "offer", "row", "record"}
"""Names of elements that are records."""
DEPTH = 64


def records(source: Source, element: str = "") -> Iterator[Entry | tuple[Line, dict[str, Any]]]:
    """One record for each element of the name, or of the first of `ELEMENTS` that occurs; names lose their prefixes.

    An element without others in it is a text; one that repeats is a list; attributes are ``@name``.

    Raises
    ------
    SourceError
        When the file is damaged or no XML; the message has the line.
    """
    reader = _Reader(element)
    line = 1
    while True:
        raw = source.read(line)
        try:
            reader.feed(raw)
        except expat.ExpatError as error:
            yield from reader.taken()
            raise SourceError(
                f"{source.path}, line {error.lineno:,}: the XML is malformed ({error}); what stands before it was read"
            ) from error
        except ValueError as error:
            yield from reader.taken()
            raise SourceError(f"{source.path}: {error}") from error
        yield from reader.taken()
        line = reader.line
        if not raw:
            return


class _Reader:
    """Collects the elements that are records."""

    def __init__(self, element: str) -> None:
        self._element = element
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.UseForeignDTD(True)  # so that HTML's entities are told, and not errors
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._data
        self._parser.SkippedEntityHandler = self._skipped
        self._parser.EntityDeclHandler = _refused
        self._parser.ExternalEntityRefHandler = lambda *_: 1
        self._stack: list[tuple[str, dict[str, Any], list[str]]] = []
        self._done: list[tuple[int, dict[str, Any] | str, int]] = []
        self._depth, self._began, self._size = 0, 0, 0

    @property
    def line(self) -> int:
        return self._parser.CurrentLineNumber

    def feed(self, raw: bytes) -> None:
        self._parser.Parse(raw, not raw)

    def taken(self) -> Iterator[Entry | tuple[Line, dict[str, Any]]]:
        done, self._done = self._done, []
        for number, record, size in done:
            if size > MAX_LINE or isinstance(record, str):
                yield unread(
                    Line(number, b""),
                    "oversized" if size > MAX_LINE else "invalid",
                    "the element has no others in it"
                    if size <= MAX_LINE
                    else f"the element is longer than {MAX_LINE} letters",
                )
            else:
                yield Line(number, msgspec.json.encode(record)), record

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH:
            raise ValueError(f"line {self.line:,}: elements are nested more than {DEPTH} deep")
        name = name.rpartition(":")[2]
        if not self._stack:
            if name != self._element and (self._element or name not in ELEMENTS):
                return
            self._element = name
            self._began, self._size = self.line, 0
        self._stack.append((name, {f"@{key.rpartition(':')[2]}": value for key, value in attributes.items()}, []))

    def _end(self, _: str) -> None:
        self._depth -= 1
        if not self._stack:
            return
        name, members, texts = self._stack.pop()
        text = "".join(texts).strip()
        named = members.keys() - {key for key in members if key.startswith("@")}
        value: Any = members | ({"#text": text} if text else {}) if named or (members and not text) else text
        if not self._stack:
            self._done.append((self._began, value, self._size))
            return
        parent = self._stack[-1][1]
        if named and text:  # markup that is not escaped: a text for people
            value = " ".join([text, *(str(one) for key, one in members.items() if key in named)])
        if name in parent:
            parent[name] = [*parent[name], value] if isinstance(parent[name], list) else [parent[name], value]
        else:
            parent[name] = value

    def _data(self, text: str) -> None:
        if self._stack:
            self._size += len(text)
            if self._size <= MAX_LINE:
                self._stack[-1][2].append(text)

    def _skipped(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            self._data(html.unescape(f"&{name};"))


def _refused(*_: Any) -> None:
    raise ValueError("the document declares entities of its own, which are not read: write their texts out")
