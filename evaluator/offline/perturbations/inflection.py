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
