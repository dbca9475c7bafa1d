"""``liveshelf ope``: what another policy would have earned, from files of logged decisions.

Reads CSV or JSON lines; ``evaluator.experiments.off_policy`` computes the estimates.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from evaluator.experiments.off_policy import Estimate, Frequencies, Logs, dr, estimate, ips, predict, snips
from streams.events.adapters.documents import parsed
from streams.events.adapters.source import Source, SourceError
from streams.events.adapters.table import Dialect, rows
from streams.events.decode import Refusal

FIELDS = ("reward", "action", "place", "propensity")
ESTIMATORS = {"ips": ips, "snips": snips, "dr": dr}
LARGEST = 1e9
"""The largest absolute reward: beyond it, sums and squares lose their meaning."""


class LogsError(ValueError):
    """The logs cannot be used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One logged decision: the action, its place, its probability, and its reward."""

    action: str
    place: str
    reward: float
    propensity: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Estimates by name, the mean reward of the logging policy, and that of the estimated policy in its own log."""

    estimates: dict[str, Estimate]
    logged: float
    truth: float | None
    decisions: int

    def table(self) -> Table:
        """The result as a table."""
        table = Table("estimator", "value", "95 % interval", "effective decisions", title="Off-policy")
        for name, found in self.estimates.items():
            table.add_row(name, f"{found.value:.5f}", f"{found.low:.5f} … {found.high:.5f}", f"{found.effective:,.0f}")
        table.add_row("the logging policy", f"{self.logged:.5f}", "", f"{self.decisions:,}")
        if self.truth is not None:
            table.add_row("the policy itself, in its own log", f"{self.truth:.5f}", "", "")
        return table


def read(path: Path, fields: Mapping[str, str]) -> list[Decision]:
    """The decisions in a file.

    Parameters
    ----------
    fields
        The columns of action, place, reward and propensity, where they have other names.

    Raises
    ------
    LogsError
        When the file cannot be read, or a line is not a decision.
    """
    names = {name: fields.get(name, name) for name in FIELDS}
    try:
        with Source(path) as source:
            rows = _table(source, names) if ".csv" in path.suffixes else _objects(source)
            found = [_decision(row, names, f"{path}, line {number:,}") for number, row in rows]
    except SourceError as error:
        raise LogsError(str(error)) from error
    except OSError as error:
        raise LogsError(f"{path} cannot be read: {error}") from error
    if not found:
        raise LogsError(f"{path} holds no decisions")
    return found


def answer(logged: list[Decision], target: list[Decision], *, clip: float, draws: int, seed: int = 0) -> Answer:
    """What the policy whose log is ``target`` would have earned, from another policy's log.

    Its action probabilities are the frequencies in its own log, by place. The estimates do not use the rewards of that
    log; the mean of these rewards is returned beside them as the truth.
    """
    policy = Frequencies()
    for one in target:
        policy.update(one.place, one.action)
    policies = [policy.get(one.place) for one in logged]
    reward = np.array([one.reward for one in logged])
    own, predicted = predict([one.action for one in logged], reward, policies)
    logs = Logs(
        reward,
        np.array([one.propensity for one in logged]),
        np.array([probabilities.get(one.action, 0.0) for one, probabilities in zip(logged, policies, strict=True)]),
        own,
        predicted,
    )
    estimates = {name: estimate(logs, how, clip=clip, draws=draws, seed=seed) for name, how in ESTIMATORS.items()}
    return Answer(estimates, float(reward.mean()), float(np.mean([one.reward for one in target])), len(logged))


def _table(source: Source, names: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row of a CSV file with the number of its line."""
    header: list[str] = []
    for row in rows(source.lines(blank=True), Dialect()):
        where = f"{source.path}, line {row.line.number:,}"
        if row.error or not row.line.complete:
            raise LogsError(f"{where}: {row.error or 'the line is too long'}")
        if not header:
            header = [cell.strip() for cell in row.cells]
            if twice := sorted(name for name, count in Counter(header).items() if count > 1 and name in names.values()):
                raise LogsError(f"{where}: the header has {', '.join(twice)} more than once: rename all but one")
        elif len(row.cells) != len(header):
            raise LogsError(f"{where}: {len(row.cells)} cells; the header has {len(header)}")
        else:
            yield row.line.number, dict(zip(header, row.cells, strict=True))


def _objects(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each JSON object with the number of its line."""
    for line in source.lines():
        record = parsed(line)
        if not line.complete or isinstance(record, Refusal):
            why = record.detail if line.complete and isinstance(record, Refusal) else "the line is too long"
            raise LogsError(f"{source.path}, line {line.number:,}: {why}")
        yield line.number, record


def _decision(row: dict[str, Any], names: Mapping[str, str], where: str) -> Decision:
    if missing := sorted(column for column in names.values() if row.get(column) in (None, "")):
        raise LogsError(f"{where} has no {', '.join(missing)}; its columns are {', '.join(row)}: map them")
    reward, propensity = (_number(row[names[name]], name, where) for name in ("reward", "propensity"))
    if not abs(reward) <= LARGEST:
        raise LogsError(f"{where}: the reward {reward:g} is not from {-LARGEST:g} to {LARGEST:g}")
    if not 0 < propensity <= 1:
        raise LogsError(f"{where}: the propensity {propensity:g} is not above 0 and at most 1")
    action, place = (_name(row[names[name]], name, where) for name in ("action", "place"))
    return Decision(action, place, reward, propensity)


def _number(value: Any, name: str, where: str) -> float:
    """The number in a cell; the caller checks its range."""
    try:
        return float(value)
    except OverflowError:
        raise LogsError(f"{where}: the {name} is too large a number") from None
    except (TypeError, ValueError):
        raise LogsError(f"{where}: the {name} {_short(value)} is no number") from None


def _name(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str | int | float):
        raise LogsError(f"{where}: the {name} {_short(value)} is neither text nor a number")
    return str(value)


def _short(value: Any) -> str:
    return repr(value if isinstance(value, str) else type(value).__name__)[:100]
