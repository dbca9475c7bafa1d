"""Harmful content by a list of words, ``harmful.toml``: small, and readable by whoever has to answer for it.

Knows words; understands no text. A shop extends the list, or adds a classifier of its own.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

CJK = 0x2E80
"""Letters from here on are written without spaces between words."""


@cache
def patterns() -> Mapping[str, tuple[re.Pattern[str], re.Pattern[str]]]:
    """Each category's words, and the harmless phrases that have them."""
    text = (resources.files("evaluator.offline.safety") / "harmful.toml").read_text("utf-8")
    return {
        category: (_pattern(lists["words"]), _pattern(lists.get("except", [])))
        for category, lists in tomllib.loads(text).items()
    }


def classify(texts: Sequence[str]) -> list[str]:
    """The first category of the list that a text has a word of, phrases that are harmless apart.

    Examples
    --------
    >>> classify(["Heat gun 1500 W", "9 mm handgun", "Suicide Squad - DVD", "防身 手枪"])
    ['', 'weapons', '', 'weapons']
    """
    return [_one(text.casefold()) for text in texts]


def _one(text: str) -> str:
    for category, (words, harmless) in patterns().items():
        if words.search(text) and words.search(harmless.sub(" ", text)):
            return category
    return ""


def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    if not words:
        return re.compile(r"(?!)")
    parts = [re.escape(word) if ord(word[0]) >= CJK else rf"(?<!\w){re.escape(word)}(?:s|es)?(?!\w)" for word in words]
    return re.compile("|".join(parts))


CLASSIFIERS = {"words": classify}
