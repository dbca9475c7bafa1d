"""Which queries a report may show: none that only few shoppers asked.

Pure; knows cases. A case's id is never shown either: it may hold a shopper's.
"""

from collections import defaultdict

from evaluator.offline.data import Case, EvaluationData

LEAST = 3
"""Shoppers who must have asked a query before it is shown."""


def spelled(query: str) -> str:
    """A query as it is counted: without case and double spaces."""
    return " ".join(query.casefold().split())


class Showable:
    """Tells whether a case's query may be shown.

    Judged queries of data without shoppers may; a shopper's own may where enough others asked the same.

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
        self.task = data.task
        askers: defaultdict[str, set[str]] = defaultdict(set)
        if data.task != "feed":
            for number, case in enumerate((*data.train, *data.cases)):
                if len(known := askers[spelled(case.query)]) < LEAST:
                    known.add(case.shopper or f"case {number}")
        self._enough = {query for query, known in askers.items() if len(known) >= LEAST}

    def __call__(self, case: Case) -> bool:
        """Whether the case's query may be shown."""
        if self.task == "feed" or not case.query:
            return False
        return (self.task == "graded" and not case.shopper) or spelled(case.query) in self._enough
