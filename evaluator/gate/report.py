"""What the gate says: every check with its figure, interval and limit, and a sentence for people.

Values in, JSON out and back; knows nothing of how anything is measured.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

Decision = Literal["passed", "refused", "too_few"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check.

    Attributes
    ----------
    value, interval
        What was measured, and how sure it is; None where it could not be measured.
    limit
        What the value is compared with.
    needed
        How many shoppers a decision takes, where the slice is too small; queries where no shopper is known.
    sentence
        For people.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    limit: float
    passed: bool
    needed: int | None = None
    sentence: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a challenger may be rolled out, and why.

    Attributes
    ----------
    shoppers, queries, contexts
        Counts of the slice. Shoppers and queries are resampled as groups; ``shoppers`` is 0 where none is known.
        Contexts are the lists that were ranked.
    config
        The limits and the seed that were used.
    """

    decision: Decision
    sentence: str
    queries: int
    contexts: int
    config: dict[str, Any]
    checks: tuple[Check, ...]
    shoppers: int = 0

    @property
    def passed(self) -> bool:
        """Whether the challenger may be rolled out."""
        return self.decision == "passed"


def conclude(checks: Sequence[Check], shoppers: int, queries: int, contexts: int, config: dict[str, Any]) -> Verdict:
    """One failed check refuses the challenger; otherwise one check without enough examples leaves the decision open.

    Examples
    --------
    >>> fine = Check(name="loss", value=-0.1, interval=(-0.2, -0.05), limit=0.0, passed=True, sentence="Better.")
    >>> open = Check(name="ndcg", value=0.0, interval=(-0.2, 0.2), limit=-0.1, passed=False, needed=900, sentence="?")
    >>> conclude([fine, open], 100, 110, 120, {}).sentence
    'Not enough examples: 100 shoppers, 110 queries. ?'
    """
    failed = [check for check in checks if not check.passed]
    refused = [check for check in failed if check.needed is None]
    decision: Decision = "refused" if refused else "too_few" if failed else "passed"
    match decision:
        case "passed":
            said = f"Passed all {len(checks)} checks."
        case "refused":
            said = "Refused."
        case "too_few":
            said = f"Not enough examples: {f'{shoppers:,} shoppers, ' if shoppers else ''}{queries:,} queries."
    sentence = " ".join([said, *(check.sentence for check in (refused or failed))])
    return Verdict(
        decision=decision,
        sentence=sentence,
        shoppers=shoppers,
        queries=queries,
        contexts=contexts,
        config=config,
        checks=tuple(checks),
    )


def encode(verdict: Verdict) -> bytes:
    """As indented JSON."""
    return msgspec.json.format(msgspec.json.encode(verdict), indent=2) + b"\n"


def decode(data: bytes) -> Verdict:
    """Read what :func:`encode` wrote; ``msgspec.DecodeError`` where it is not a verdict."""
    return msgspec.json.decode(data, type=Verdict)
