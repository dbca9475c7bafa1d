"""Texts in one form: repaired, without markup, NFKC, one space between words; ids without what tables add.

Knows polars' columns; nothing of fields and of files.
"""

import html
import re
from collections import Counter
from collections.abc import Callable

import polars as pl

TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>|<!--.*?-->", re.S)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
MOJIBAKE = re.compile(
    "[\u00c2\u00c3\u00e2][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u2122]"
)
INVISIBLE = (
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}\x{ad}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{2064}\x{feff}]"
)


def repaired(text: str) -> str:
    """UTF-8 that was read as Windows-1252, read again; any other text as it is.

    Examples
    --------
    >>> repaired("caf\u00c3\u00a9"), repaired("\u00c3 la carte")
    ('café', 'Ã la carte')
    """
    if not MOJIBAKE.search(text):
        return text
    try:
        return text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return text


def without_markup(text: str) -> str:
    """A text without HTML tags, its entities as letters.

    Examples
    --------
    >>> without_markup("<b>4&#39; &amp; 5&quot;</b><br/>I <3 it")
    ' 4\\' & 5"  I <3 it'
    """
    return ENTITY.sub(lambda found: html.unescape(found[0]), TAG.sub(" ", text))


LOST_QUOTE = re.compile(r'^[^"\\]*(?:(?<![^\s\d])\\|\\(?![\w"]))(?:[^"\\]|\\")*"$', re.S)
"""A text whose first quote is lost, with one too many at its end: its reader knew only ``""``, not ``\\"``."""


def with_quotes(text: str) -> str:
    r"""A text whose quotes a table had escaped by backslashes, the one that another way of reading loses in its place.

    Examples
    --------
    >>> for text in ('6\\" hose', '36\\ x 72\\" Layout"', '\\Weird Al\\" - CD"', 'C:\\Tools "x"', 'AC\\DC'):
    ...     print(with_quotes(text))
    6" hose
    36" x 72" Layout
    "Weird Al" - CD
    C:\Tools "x"
    AC\DC
    """
    if LOST_QUOTE.match(text):
        text = text.replace("\\", '\\"', 1)[:-1]
    return text.replace('\\"', '"')


STEPS: tuple[tuple[str, str, str, Callable[[pl.Series], pl.Series]], ...] = (
    (
        "mojibake",
        "UTF-8 that had been read as Windows-1252 was read again",
        r"[\u00c2\u00c3\u00e2][^\x00-\x7f]",
        lambda texts: texts.map_elements(repaired, return_dtype=pl.String),
    ),
    (
        "quotes",
        "quotes that a table had escaped by backslashes were read again",
        r"\\",
        lambda texts: texts.map_elements(with_quotes, return_dtype=pl.String),
    ),
    (
        "html",
        "HTML tags were removed and entities replaced by their letters",
        r"<[/!a-zA-Z]|&[#a-zA-Z]",
        lambda texts: texts.map_elements(without_markup, return_dtype=pl.String),
    ),
    (
        "nfkc",
        "letters were brought to Unicode NFKC, full width to half",
        r"[^\x00-\x7f]",
        lambda texts: texts.str.normalize("NFKC"),
    ),
    (
        "invisible",
        "control characters and invisible letters were removed",
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[^\x00-\x7f]",
        lambda texts: texts.str.replace_all(INVISIBLE, ""),
    ),
    (
        "whitespace",
        "spaces at the ends were removed and those between words made one",
        r"^\s|\s$|\s\s|[\t\r\n]",
        lambda texts: texts.str.replace_all(r"\s+", " ").str.strip_chars(),
    ),
)
"""Name, sentence, what a text must hold for the step to be tried, and the step."""


def normalised(texts: pl.Series) -> tuple[pl.Series, Counter[str]]:
    """A column of texts in one form, and how many of its values each step has changed.

    Examples
    --------
    >>> column, counts = normalised(pl.Series(["\uff21\uff22 ", "a&amp;b", "a&amp;b", None]))
    >>> column.to_list(), dict(counts)
    (['AB', 'a&b', 'a&b', None], {'html': 2, 'nfkc': 1, 'whitespace': 1})
    """
    counted = Counter[str]()
    frequency = texts.drop_nulls().value_counts(name="rows")
    before = frequency.get_column(texts.name)
    rows = frequency.get_column("rows")
    after = before
    for name, _, pattern, step in STEPS:
        candidates = after.str.contains(pattern)
        if not candidates.any():
            continue
        new = after.clone().scatter(candidates.arg_true(), step(after.filter(candidates)))
        if changed := int(rows.filter(new != after).sum()):
            counted[name] += changed
        after = new
    if not counted:
        return texts, counted
    return texts.replace_strict(before, after, default=None, return_dtype=pl.String), counted


def identifiers(values: pl.Series) -> tuple[pl.Series, Counter[str]]:
    """A column of ids as text: without spaces around, and without the ``.0`` of numbers that a table made of them.

    Examples
    --------
    >>> column, counts = identifiers(pl.Series(["17850.0", " 85123A ", "", None]))
    >>> column.to_list(), dict(counts)
    (['17850', '85123A', '', None], {'float_id': 1, 'whitespace': 1})
    """
    texts = values.cast(pl.String)
    bare = texts.str.strip_chars()
    whole = bare.str.replace(r"^(\d+)\.0$", "$1")
    counts = Counter(float_id=int((bare != whole).sum()), whitespace=int((texts != bare).sum()))
    return whole, +counts


SENTENCES = {name: sentence for name, sentence, *_ in STEPS} | {
    "float_id": "ids that a table had made numbers lost their “.0”",
}
"""What each change of a value is, for the data card."""
