"""What may not leave in a report: who shoppers are, what only few of them asked, and what points to a person.

Knows cases, files and texts; nothing of how reports are made. Case ids of the loaders are numbers, so that no report
has to name a shopper.
"""

import re
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from evaluator.message import Message, Text, said
from evaluator.offline.data import Case, EvaluationData, spelled

SHORTEST = 4
"""Letters that an id needs to be looked for: a shorter one stands everywhere."""

LEAST_ASKERS = 3
"""Shoppers who must have asked a query before it is shown."""

OWN = {"evaluator", "liveshelf", "models", "streams"}
"""Packages whose errors are written to be read, and name no text of a shopper."""

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


class Showable:
    """Tells whether a case's query may be shown.

    Judged queries of data without shoppers may; a shopper's own may where enough others asked the same. None may where
    the data is not to be shown at all.

    Examples
    --------
    >>> import numpy as np
    >>> queries = ["tv", "tv", "TV", "me"]
    >>> cases = [Case(str(n), ("a",), np.ones(1), query, shopper=f"s{n}") for n, query in enumerate(queries)]
    >>> may = Showable(EvaluationData("d", "clicks", cases, [], {}))
    >>> may(cases[0]), may(cases[3])
    (True, False)
    """

    def __init__(self, data: EvaluationData) -> None:
        self.task, self.hidden = data.task, data.hide_texts
        askers: defaultdict[str, set[str]] = defaultdict(set)
        if data.task != "feed":
            for number, case in enumerate((*data.train, *data.cases)):
                if len(known := askers[spelled(case.query)]) < LEAST_ASKERS:
                    known.add(case.shopper or f"case {number}")
        self._enough = {query for query, known in askers.items() if len(known) >= LEAST_ASKERS}

    def __call__(self, case: Case) -> bool:
        """Whether the case's query may be shown."""
        if self.hidden or self.task == "feed" or not case.query:
            return False
        return (self.task == "graded" and not case.shopper) or spelled(case.query) in self._enough


def told_of(error: BaseException) -> Text:
    """What a report tells of an error: the message if it is this project's own, else the kind and the place.

    The message of anybody else's code may repeat a query, a shopper's id or a past. It stays in the run's log.

    Examples
    --------
    >>> try:
    ...     int("a shopper's words")
    ... except ValueError as error:
    ...     print(told_of(error))
    ValueError in <doctest evaluator.offline.safety.privacy.told_of[0]>, line 2
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    inner = frames[-1][0].f_globals.get("__name__", "") if frames else ""
    if {inner.split(".")[0], type(error).__module__.split(".")[0]} <= OWN:
        first = error.args[0] if error.args else ""
        return first if isinstance(first, Message) else str(error).strip().partition("\n")[0].rstrip(".")
    kind = type(error).__name__
    if not frames:
        return kind
    frame, line = frames[-1]
    return said("{kind} in {file}, line {line}", kind=kind, file=Path(frame.f_code.co_filename).name, line=line)


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
