"""The reports' sentences in English and Chinese, and how figures are written.

Knows the file of messages beside it; nothing of what they are said of.
"""

import math
from functools import cache
from typing import Any

from markupsafe import Markup

from evaluator.message import Text
from evaluator.translations import TAGS, Language, Translations, read

NONE = "\u2013"
"""Shown where there is no figure."""

MINUS = "\u2212"


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Every message by its key and its language."""
    found: dict[str, dict[str, str]] = _file()["messages"]
    return found


@cache
def words() -> dict[str, str]:
    """Chinese of words and sentences that data and measures bring in English."""
    found: dict[str, str] = _file()["words"]
    return found


@cache
def _translations() -> Translations:
    return Translations(words())


@cache
def _file() -> dict[str, Any]:
    return read("evaluator.offline.report", "messages.toml")


class Speaker:
    """Says messages in one language. What is filled in is escaped.

    Examples
    --------
    >>> Speaker("en")("verdict_best", best="<b>")
    Markup('<strong>&lt;b&gt;</strong> ranks best.')
    >>> Speaker("zh").word("tail"), Speaker("zh").word("odd <one>"), Speaker("en").word("tail")
    (Markup('长尾'), Markup('<span lang="en">odd &lt;one&gt;</span>'), Markup('tail'))
    >>> from evaluator.message import Message
    >>> Speaker("zh").word(Message("F1 of the intent {name}.", {"name": "buy"}))
    Markup('意图“购买”的 F1 值。')
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self.tag = TAGS[language]

    def __call__(self, key: str, **values: object) -> Markup:
        """A message by its key."""
        return Markup(catalogue()[key][self.language]).format(**values)

    def knows(self, key: str) -> bool:
        """Whether there is such a message."""
        return key in catalogue()

    def word(self, english: Text) -> Markup:
        """What code or data gives in English: in Chinese where that is known, else marked as English."""
        if self.language == "en" or _translations().chinese(english) is not None or not str(english):
            return Markup.escape(self.plain_word(english))
        return Markup('<span lang="en">{}</span>').format(str(english))

    def plain_word(self, english: Text) -> str:
        """The same without markup, for attributes and drawings."""
        return _translations().say(english, self.language)


def shown(value: float | None, unit: str = "", sign: str = "") -> str:
    """A figure with as many digits as are read: four after the point below ten, at least three in all above.

    Examples
    --------
    >>> shown(0.85314), shown(0.01234, sign="+"), shown(12.345, "ms"), shown(12345.6), shown(1.0)
    ('0.8531', '+0.0123', '12.3 ms', '12,346', '1.0000')
    >>> shown(12_340_000.0), shown(0.0), shown(1_000.0, "items"), shown(-0.5) == f"{MINUS}0.5000"
    ('12,340,000', '0', '1,000 items', True)
    >>> shown(None) == shown(float("nan")) == NONE
    True
    """
    if value is None or not math.isfinite(value):
        return NONE
    size = abs(value)
    if size == 0 and not sign:
        text = "0"
    elif size < 0.00005 and not sign:
        text = f"{value:{sign}.2e}"
    else:
        digits = 4 if size < 0.001 or (size < 10 and not unit) else max(0, min(4, 2 - math.floor(math.log10(size))))
        text = f"{value:{sign},.{digits}f}"
    return text.replace("-", MINUS) + (f" {unit}" if unit else "")


def duration(seconds: float) -> str:
    """A time in the unit that people read it in.

    Examples
    --------
    >>> duration(0.00042), duration(0.042), duration(3.0), duration(620.0)
    ('0.42 ms', '42 ms', '3.0 s', '10.3 min')
    """
    if seconds < 1:
        return f"{1_000 * seconds:.2g} ms" if seconds < 0.1 else f"{1_000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def memory(megabytes: float) -> str:
    """Megabytes, or gigabytes from a thousand on.

    Examples
    --------
    >>> memory(612.3), memory(1_740.0)
    ('612 MB', '1.7 GB')
    """
    return f"{megabytes:.0f} MB" if megabytes < 1_000 else f"{megabytes / 1_000:.1f} GB"


def times(ratio: float) -> str:
    """How many times as much, with two digits that count.

    Examples
    --------
    >>> times(0.0213), times(1.04), times(312.0)
    ('0.021', '1', '310')
    """
    return f"{float(f'{ratio:.2g}'):,g}"
