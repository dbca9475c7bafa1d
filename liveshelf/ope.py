"""``liveshelf ope``: what another policy would have earned, from files of logged decisions.

Reads CSV or JSON lines; the arithmetic is ``evaluator.offpolicy``'s.
"""

import csv
import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.table import Table

from evaluator.offpolicy.estimators import Estimate, Logs, dr, estimate, ips, snips
from evaluator.offpolicy.policy import Frequencies
from evaluator.offpolicy.rewards import predict
from streams.adapters.source import Source

FIELDS = ("reward", "action", "place", "propensity")
ESTIMATORS = {"ips": ips, "snips": snips, "dr": dr}


class LogsError(ValueError):
    """Logs that cannot be used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One logged decision: what was done where, with which probability, and what came of it."""

    action: str
    place: str
    reward: float
    propensity: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Estimates by name, what the logging policy earned, and what the policy in question did where its log tells."""

    estimates: dict[str, Estimate]
    logged: float
    truth: float | None
    decisions: int

    def table(self) -> Table:
        """For people."""
        table = Table("estimator", "value", "95 % interval", "effective decisions", title="Off-policy")
        for name, found in self.estimates.items():
            table.add_row(name, f"{found.value:.5f}", f"{found.low:.5f} … {found.high:.5f}", f"{found.effective:,.0f}")
        table.add_row("the logging policy", f"{self.logged:.5f}", "", f"{self.decisions:,}")
        if self.truth is not None:
            table.add_row("the policy itself, in its own log", f"{self.truth:.5f}", "", "")
        return table


def read(path: Path, fields: Mapping[str, str]) -> list[Decision]:
    """Decisions of a file.

    Parameters
    ----------
    fields
        Which column is an action, a place, a reward or a propensity, where it is not called so.

    Raises
    ------
    LogsError
        When the file cannot be read, or a line is no decision.
    """
    names = {name: fields.get(name, name) for name in FIELDS}
    found = []
    try:
        with Source(path) as source:
            for number, row in enumerate(_rows(source, path), start=1):
                found.append(_decision(row, names, f"{path}, record {number}"))
    except (OSError, EOFError, lzma.LZMAError, csv.Error, msgspec.MsgspecError) as error:
        raise LogsError(f"{path} cannot be read: {error}") from error
    if not found:
        raise LogsError(f"{path} holds no decisions")
    return found


def answer(logged: list[Decision], target: list[Decision], *, clip: float, draws: int, seed: int = 0) -> Answer:
    """What the policy whose log is ``target`` would have earned, from another policy's log.

    Its action probabilities are the frequencies of its own log, by place. That log's rewards are not used for the
    estimates; their mean is told beside them as the truth, where there is one.
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


def _rows(source: Source, path: Path) -> Iterator[dict[str, Any]]:
    lines = (line.raw.decode("utf-8-sig") for line in source.lines())
    if ".csv" in path.suffixes:
        yield from csv.DictReader(lines)
        return
    for line in lines:
        yield msgspec.json.decode(line, type=dict[str, Any])


def _decision(row: dict[str, Any], names: Mapping[str, str], where: str) -> Decision:
    if missing := sorted(column for column in names.values() if row.get(column) in (None, "")):
        raise LogsError(f"{where} has no {', '.join(missing)}; its columns are {', '.join(row)}: map them")
    try:
        reward, propensity = float(row[names["reward"]]), float(row[names["propensity"]])
    except (TypeError, ValueError) as error:
        raise LogsError(f"{where}: {error}") from None
    if not 0 < propensity <= 1:
        raise LogsError(f"{where}: the propensity {propensity:g} is not above 0 and at most 1")
    return Decision(str(row[names["action"]]), str(row[names["place"]]), reward, propensity)
