"""What an evaluation is asked to do: data, contenders, dimensions, seeds. Written beside its results.

Values only.
"""

import msgspec

from evaluator.offline.data import Source


class Spec(msgspec.Struct, kw_only=True, frozen=True):
    """One evaluation.

    Attributes
    ----------
    data, train, items
        Files: what is ranked, what may be learned from, and the items' texts where the data has none.
    columns
        The file's column of each field, where it is not guessed, such as ``{"gain": "stars"}``.
    limit
        How many cases are evaluated at most, drawn by the seed; 0 for all.
    contenders
        Their names; the first is the reference that the others are compared with.
    dimensions
        Their names; empty for all.
    draws
        Draws of the bootstrap.
    price_per_core_hour
        What an hour of one core costs, in any currency.
    hide_texts
        Whether queries and items' texts stay out of the report, so that it may be given to others.
    """

    data: str
    task: Source
    train: str = ""
    items: str = ""
    columns: dict[str, str] = {}
    limit: int = 0
    contenders: list[str]
    dimensions: list[str] = []
    draws: int = 1_000
    seed: int = 0
    price_per_core_hour: float = 0.05
    hide_texts: bool = False
