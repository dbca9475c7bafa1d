"""What may not leave in a report: who shoppers are, and what in a text points to a person.

Knows files and texts; nothing of how reports are made. Case ids of the loaders are numbers, so that no report has to
name a shopper.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from evaluator.offline.data import EvaluationData

SHORTEST = 4
"""Letters that an id needs to be looked for: a shorter one stands everywhere."""

MASKS = (
    ("e-mail", re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")),
    ("link", re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE)),
    ("number", re.compile(r"(?<![\w.])\+?\d(?:[ ().-]{0,2}\d){8,18}(?!\w)")),
)
"""What is masked in a text of a shopper: addresses, links, and numbers as long as a telephone's or a card's."""

WORD = re.compile(r"[^\s\"'<>,;:/\\|(){}\[\]=&]+")
"""What stands between the punctuation of JSON, HTML and paths."""


def redacted(text: str) -> str:
    """A text of a shopper, such as a query, without what points to a person.

    Examples
    --------
    >>> redacted("gift for ann@example.org, call +44 20 7946 0958, 4 x 8 plywood, sku 100019")
    'gift for [e-mail], call [number], 4 x 8 plywood, sku 100019'
    """
    for name, pattern in MASKS:
        text = pattern.sub(f"[{name}]", text)
    return text


def secrets(data: EvaluationData) -> frozenset[str]:
    """The ids of all shoppers, and e-mail addresses, links and long numbers in their queries."""
    cases = (*data.cases, *data.train)
    names = {case.shopper for case in cases if len(case.shopper) >= SHORTEST}
    inside = {match[0] for case in cases for _, pattern in MASKS for match in pattern.finditer(case.query)}
    return frozenset(names | inside)


def leaks(files: Iterable[Path], data: EvaluationData) -> Iterator[str]:
    """Where a shopper's id or address stands in a file, in sentences that do not repeat it.

    Parameters
    ----------
    files
        Texts, such as JSON and HTML; others are searched for the bytes.
    """
    hidden = secrets(data)
    whole = {one for one in hidden if WORD.fullmatch(one)}
    split = sorted(hidden - whole)
    for file in files:
        text = file.read_bytes().decode("utf-8", "replace")
        found = whole.intersection(WORD.findall(text)) | {one for one in split if one in text}
        if found:
            place = min(text.index(one) for one in found)
            yield f"{file.name} has {len(found)} ids or addresses of shoppers, the first at character {place}."
