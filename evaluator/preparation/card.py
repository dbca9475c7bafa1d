"""The data card: all that is said about prepared data, as values.

Knows no file and no page.
"""

import msgspec

from evaluator.preparation.rules import Action
from evaluator.preparation.schema import Kind, SplitBy


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was read."""

    name: str
    sha256: str
    rows: int


class RuleCount(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule has found, and how many rows were dropped for it.

    Attributes
    ----------
    found : int
        Rows that it matches. Rules that need more than a row look only at those that no earlier rule drops, except for
        exact duplicates, which are looked for among all.
    dropped : int
        Rows for which it was the first rule that drops them.
    note : str
        How the rule came to its limits here; empty where nothing needs to be said.
    """

    name: str
    sentence: str
    action: Action
    found: int
    dropped: int
    note: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of values that drops nothing."""

    name: str
    sentence: str
    values: int


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """A file of prepared rows."""

    name: str
    file: str
    rows: int
    share: float
    first: str = ""
    last: str = ""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """How the values of a column are distributed.

    Attributes
    ----------
    of : str
        What is counted: its values, or the length of its texts.
    missing : dict of str to int
        Rows without a value, by split.
    labels : list of str
        Of the bins.
    counts : dict of str to list of int
        Rows in each bin, by split.
    """

    name: str
    of: str
    missing: dict[str, int]
    labels: list[str] = []
    counts: dict[str, list[int]] = {}


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """How far a split's column is from that of the first split.

    Attributes
    ----------
    psi : float
        Population stability index.
    p : float
        The chance of so high an index if both were drawn from the same values, independently.
    verdict : str
    """

    column: str
    split: str
    psi: float
    p: float
    verdict: str


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What two splits share.

    Attributes
    ----------
    binding : bool
        Whether the way of splitting promises that there is none.
    """

    name: str
    sentence: str
    found: int
    of: int
    binding: bool

    @property
    def passed(self) -> bool:
        """Whether nothing that was promised is broken."""
        return not (self.binding and self.found)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """All about a preparation."""

    kind: Kind
    inputs: list[Input]
    mapping: dict[str, str]
    assumptions: list[str]
    rows_in: int
    rows_out: int
    rules: list[RuleCount]
    changes: list[Change]
    split: SplitBy
    seed: int
    splits: list[Split]
    columns: list[Column]
    drift: list[Drift]
    checks: list[Check]
