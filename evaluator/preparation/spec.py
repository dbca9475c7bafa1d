"""What is asked of a preparation.

Knows names and numbers; nothing of files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from evaluator.preparation.numbers import Decimal
from evaluator.preparation.rules import RULES, SERVICE_CODES, Action, Rule
from evaluator.preparation.schema import Kind, SplitBy
from evaluator.preparation.splits import NAMES
from evaluator.preparation.tables import DataError
from evaluator.preparation.times import DateOrder


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Files, how they are read, which rules drop, and how rows are split; what is None is seen from the data.

    Raises
    ------
    DataError
        When something that is asked for does not exist.
    """

    files: tuple[Path, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    kind: Kind | None = None
    split: SplitBy | None = None
    shares: tuple[float, ...] = (0.8, 0.1, 0.1)
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    time_zone: str = "UTC"
    date_order: DateOrder | None = None
    decimal: Decimal | None = None
    currency: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    service_codes: str = SERVICE_CODES
    encoding: str = "utf-8"
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.shares) not in NAMES or min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise DataError("Shares are two or three numbers above 0 that add up to 1, such as 0.8,0.1,0.1.")
        names = [rule.name for rule in RULES]
        if unknown := [name for name in (*self.keep, *self.drop) if name not in names]:
            raise DataError(f"{unknown[0]} is no rule. Rules are {', '.join(names)}.")
        if both := sorted(set(self.keep) & set(self.drop)):
            raise DataError(f"{both[0]} is both to keep and to drop.")
        if bad := [code for code, rate in self.rates.items() if rate <= 0]:
            raise DataError(f"The rate of {bad[0]} is not above 0.")
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise DataError(
                f"{self.time_zone} is no time zone. Known are for example UTC and Europe/London."
            ) from error
        try:
            pl.Series([""]).str.contains(self.service_codes)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{self.service_codes} is no pattern of service codes that can be read.") from error

    def action(self, rule: Rule) -> Action:
        """What a rule does: as asked, else its default."""
        return "count" if rule.name in self.keep else "drop" if rule.name in self.drop else rule.action
