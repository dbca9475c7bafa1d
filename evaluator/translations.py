"""English sentences in Chinese: looked up whole, by the pattern of their fields, or part by part.

Records on topics, in the store and in errors hold finished English sentences, so that every reader and every older
version understands them. A reader who wants Chinese has them translated here, by a catalogue whose keys are English
sentences with named fields, as in gettext. Knows nothing of what the sentences are about.
"""

import re
import string
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal, get_args

from evaluator.message import Message, Text

Language = Literal["en", "zh"]

LANGUAGES: tuple[Language, ...] = get_args(Language)

TAGS: dict[Language, str] = {"en": "en", "zh": "zh-Hans"}
"""The languages as browsers and screen readers know them."""

MARKS = {", ": "\uff0c", ": ": "\uff1a"}
"""Marks between words, and those of Chinese."""

STOPS = ("\u3002", "\uff1f", "\uff01")
"""Marks at the end of a Chinese sentence."""

_ENDS = r"(?<=[.]) |(?<=[?!]) (?=[A-Z])"
_BETWEEN = re.compile(f"({_ENDS})"), re.compile("(; )")
"""Between two sentences, and between two parts of one."""

_NUMBERS = {"n", "m"}
_NUMBER, _QUOTED, _WITHIN = r"[\d.,+-]+", "[^\u201d]*", f"(?:(?!; |{_ENDS}).)+?"
"""What a field may hold: a number, anything in quotation marks, or a part of one sentence."""

_FIELD = re.compile(r"\{([a-z_]+)[^}]*\}")
_REMEMBERED = 2_000
_LONGEST = 500
"""Letters of a sentence that patterns are tried on: time grows with a power of it, and anybody may write to a topic."""

_WHOLE = 10_000
"""Letters of a text that is translated at all: what was found is remembered."""


def preferred(tags: str) -> Language | None:
    """The first language of a header ``Accept-Language``, or of a single tag, that there is; None where there is none.

    Examples
    --------
    >>> preferred("zh-CN,zh;q=0.9,en;q=0.8"), preferred("fr, en-GB;q=0.5, zh;q=0.7"), preferred("zh_CN.UTF-8")
    ('zh', 'zh', 'zh')
    >>> preferred("de"), preferred("zh;q=0, *"), preferred("")
    (None, None, None)
    """
    weighed: list[tuple[float, Language]] = []
    for part in tags.split(","):
        tag, _, weight = part.partition(";")
        name = re.split("[-_.]", tag.strip().lower())[0]
        found = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight)
        quality = float(found[1]) if found else 0.0 if weight else 1.0
        weighed += [(quality, one) for one in LANGUAGES if one == name and quality > 0]
    return max(weighed, key=lambda one: one[0])[1] if weighed else None


def read(package: str, file: str) -> dict[str, Any]:
    """The tables of a catalogue in TOML that comes with a package."""
    return tomllib.loads(files(package).joinpath(file).read_text("utf-8"))


@cache
def live() -> "Translations":
    """The catalogue of what processes, alerts and the store say."""
    tables = read("evaluator", "sentences.toml")
    return Translations({**tables["names"], **tables["sentences"]})


class Translations:
    """A catalogue.

    Parameters
    ----------
    chinese
        Chinese by English; fields in braces stand in both. In a finished sentence the fields ``n`` and ``m`` are
        numbers, the others any text, which is translated in turn.

    Examples
    --------
    >>> some = Translations({"{n} alerts firing": "{n} 条告警触发中", "feed": "信息流", "Healthy": "运行正常",
    ...     "no {role} reports": "没有 {role} 上报"})
    >>> some.say("Healthy. 3 alerts firing.", "zh"), some.say("no worker reports", "en")
    ('运行正常。3 条告警触发中。', 'no worker reports')
    >>> some.chinese("feed, feed"), some.chinese("odd words"), some.say("odd words", "zh")
    ('信息流，信息流', None, 'odd words')
    >>> some.chinese(Message("{n} alerts firing", {"n": 3}))
    '3 条告警触发中'
    """

    def __init__(self, chinese: Mapping[str, str]) -> None:
        self.words = dict(chinese)
        bare = dict(map(_bare, chinese.items()))
        self._folded = {_folded(english): said for english, said in bare.items()}
        with_fields = [english for english in bare if _FIELD.search(english)]
        # The one that begins with its own words fits best, then the one that says most.
        with_fields.sort(key=lambda english: (english.startswith("{"), -len(_FIELD.sub("", english))))
        patterns = [(_pattern(english), bare[english]) for english in with_fields]
        self._patterns = [(pattern, said) for pattern, said in patterns if pattern is not None]
        self._found = lru_cache(_REMEMBERED)(self._translated)

    def say(self, english: Text, language: Language) -> str:
        """In a language; in English what has no translation."""
        return (self.chinese(english) if language == "zh" else None) or str(english)

    def chinese(self, english: Text) -> str | None:
        """In Chinese, or None. Of several sentences one is enough, since errors quote what others say."""
        if not isinstance(english, Message):
            return self._found(english) if len(english) <= _WHOLE else None
        if (said := self.words.get(english.text)) is None:
            return None
        texts = {name: one for name, one in english.values.items() if isinstance(one, str | Message)}
        return said.format(**{**english.values, **{name: self.say(one, "zh") for name, one in texts.items()}})

    def _translated(self, english: str) -> str | None:
        if not any(letter.isalpha() for letter in english):
            return english
        if (found := self._folded.get(_folded(english))) is not None:
            return found
        if english.endswith(".") and not english.endswith(".."):
            return None if (found := self._found(english[:-1])) is None else f"{found}。"
        for pattern, said in self._patterns if len(english) <= _LONGEST else ():
            if match := pattern.fullmatch(english):
                fields = {name: self.say(one, "zh") for name, one in match.groupdict().items()}
                return _FIELD.sub(lambda field: fields[field[1]], said)  # noqa: B023
        for between in _BETWEEN:
            if len(parts := between.split(english)) > 1:
                return self._sentences(parts)
        return self._joined(english)

    def _sentences(self, parts: list[str]) -> str | None:
        """Sentences with what stands between them, where one of them is known. Chinese has no space between them."""
        if all(self._found(one) is None for one in parts[::2]):
            return None
        said = self.say(parts[0], "zh")
        for between, one in zip(parts[1::2], parts[2::2], strict=True):
            said += "\uff1b" if between == "; " else between if not said.endswith(STOPS) else ""
            said += self.say(one, "zh")
        return said

    def _joined(self, english: str) -> str | None:
        """Words with a mark between them, where all are known."""
        for english_mark, mark in MARKS.items():
            if english_mark in english:
                known = [said for part in english.split(english_mark) if (said := self._found(part)) is not None]
                if len(known) == english.count(english_mark) + 1:
                    return mark.join(known)
        return None


def _bare(both: tuple[str, str]) -> tuple[str, str]:
    """A sentence and its translation without their full stops."""
    english, said = both
    return (english[:-1], said[:-1]) if english.endswith(".") and said.endswith("。") else both


def _folded(english: str) -> str:
    """Sentences begin with a capital where they stand first."""
    return english[:1].lower() + english[1:]


def _pattern(english: str) -> re.Pattern[str] | None:
    """What matches a sentence whose fields are filled in; None where only its fields have letters."""
    parts, named = [], set[str]()
    for literal, name, _, _ in string.Formatter().parse(english):
        parts.append(re.escape(literal))
        if name:
            value = _NUMBER if name in _NUMBERS else _QUOTED if literal.endswith("\u201c") else _WITHIN
            parts.append(f"(?P={name})" if name in named else f"(?P<{name}>{value})")
            named.add(name)
    if not any(letter.isalpha() for letter in _FIELD.sub("", english)):
        return None
    if english[0].isalpha():
        parts[0] = f"[{english[0].lower()}{english[0].upper()}]{parts[0][1:]}"
    return re.compile("".join(parts), re.DOTALL)
