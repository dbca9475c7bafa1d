"""Singular and plural of English nouns, by spelling alone.

Pure. Irregular nouns stay as they are.
"""

import re

ENDINGS = (
    (re.compile(r"(?<=[^aeiou\W])ies$"), "y"),
    (re.compile(r"(?<=(?:x|z))es$|(?<=(?:ch|sh|ss))es$"), ""),
    (re.compile(r"(?<=[^siu])s$"), ""),
)


def singular(word: str) -> str:
    """A noun's singular; the word itself where it looks like no plural.

    Examples
    --------
    >>> [singular(word) for word in ("hoses", "batteries", "boxes", "glass", "gas", "hose")]
    ['hose', 'battery', 'box', 'glass', 'gas', 'hose']
    """
    if len(word) <= 3:
        return word
    for ending, instead in ENDINGS:
        if ending.search(word):
            return ending.sub(instead, word)
    return word


def plural(word: str) -> str:
    """A noun's plural.

    Examples
    --------
    >>> [plural(word) for word in ("hose", "battery", "box", "tray")]
    ['hoses', 'batteries', 'boxes', 'trays']
    """
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    return f"{word}es" if re.search(r"(?:s|x|z|ch|sh)$", word) else f"{word}s"


def other_number(word: str) -> str:
    """The singular of a plural, else the plural.

    Examples
    --------
    >>> other_number("hoses"), other_number("hose")
    ('hose', 'hoses')
    """
    return one if (one := singular(word)) != word else plural(word)
