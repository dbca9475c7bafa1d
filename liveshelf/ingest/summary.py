"""The result of sending a file to Kafka: counts, and the file of refused lines.

Knows entries and refusals; nothing of reading or sending them.
"""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rich.table import Table

from liveshelf.ingest.removals import Removal, Verdict
from liveshelf.terminal import INTERRUPTED, add_row
from streams.events.adapters.gate import DUPLICATE, Entry, Omission
from streams.events.cleaning import Notes
from streams.events.decode import Refusal

SHOWN = 20
"""How many of the ids to delete a dry run shows, and how many conversions a summary."""
KINDS = 200
"""How many reasons to leave something out are counted apart."""


@dataclass(slots=True)
class ImportSummary:
    """The result of sending a file. ``sent`` counts records that the broker acknowledged; ``read`` the file's records.

    Of the records read, ``joined`` went into others, as variants do, and ``made`` counts further events of a record:
    without errors, ``read + made - joined`` is ``sent + duplicates + left_out + refused``. ``left_out`` counts by
    reason what the mapping leaves out on purpose, ``why`` has the first sentence of each reason to refuse, ``far_more``
    a warning about a shopper's id. In a dry run ``sent`` counts what would be sent. ``verdict`` is set if items that
    the file does not have were to be deleted, ``removal`` if they were.
    """

    read: int = 0
    sent: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    joined: int = 0
    made: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    error: str = ""
    interrupted: bool = False
    refused_path: Path | None = None
    dry_run: bool = False
    verdict: Verdict | None = None
    removal: Removal | None = None
    notes: Notes = field(default_factory=Notes)
    why: dict[str, str] = field(default_factory=dict)
    far_more: str = ""

    def count(self, entry: Entry) -> None:
        """Count what became of a line; what is sent is counted by who sends it.

        Examples
        --------
        >>> from streams.events.adapters.source import Line
        >>> summary = ImportSummary()
        >>> summary.count(Entry(Line(7, b"x"), Refusal("invalid", "no title"), records=3))
        >>> summary.read, summary.joined, summary.refused, summary.why
        (3, 2, Counter({'invalid': 1}), {'invalid': 'line 7: no title'})
        """
        self.read += entry.records
        self.joined += max(0, entry.records - 1)
        self.made += entry.records == 0
        outcome = entry.outcome
        if not isinstance(outcome, Refusal):
            return
        if isinstance(outcome, Omission):
            self.left_out[
                outcome.reason if outcome.reason in self.left_out or len(self.left_out) < KINDS else "other"
            ] += 1
        elif outcome.reason == DUPLICATE:
            self.duplicates += 1
        else:
            self.refused[outcome.reason] += 1
            self.why.setdefault(outcome.reason, f"line {entry.line.number:,}: {outcome.detail}")

    @property
    def likely_cause(self) -> str:
        """If every record was refused: one sentence about why, and what to do."""
        if not self.refused or self.sent or self.duplicates or self.error or self.interrupted:
            return ""
        [(reason, count)] = self.refused.most_common(1)
        advice = {
            "malformed": "is the format right? --format, --encoding, --delimiter and --path override what was found",
            "invalid": "are the columns and --path right? liveshelf import --guess FILE proposes a mapping",
            "future": "is the unit of the times right? see [ts] format, and events.epoch_unit",
            "guest": "map session_id too: --map session_id=COLUMN",
        }.get(reason, "see the file of refused lines")
        return f"nothing was taken: {count:,} of {self.read:,} records are {reason} ({self.why[reason]}); {advice}"

    @property
    def exit_code(self) -> int:
        """0 for success; 1 when nothing was sent, the broker failed, the file is damaged, or items were not deleted;
        130 after Ctrl-C."""
        if self.interrupted or (self.removal and self.removal.interrupted):
            return INTERRUPTED
        kept = (self.verdict and self.verdict.why_not) or (self.removal and not self.removal.whole)
        return int(bool(self.error or self.failed or kept) or self.sent == 0)

    @property
    def incomplete(self) -> str:
        """Why perhaps not all of the file's items were sent; empty if all were.

        Examples
        --------
        >>> ImportSummary(sent=5).incomplete, ImportSummary(sent=5, refused=Counter(invalid=2)).incomplete
        ('', '2 lines were refused, so what the file has is not known')
        """
        if self.interrupted:
            return "the import was interrupted"
        if self.error:
            return "the import stopped before the end of the file"
        if self.failed:
            return f"{self.failed.total():,} records were not delivered"
        if self.refused:
            return f"{self.refused.total():,} lines were refused, so what the file has is not known"
        return ""

    def table(self) -> Table:
        """The result as a table."""
        table = Table(show_header=False, box=None)
        seconds = max(self.seconds, 1e-9)
        add_row(table, "read", f"{self.read:,}", f"{self.read / seconds:,.0f}/s")
        add_row(table, "would send" if self.dry_run else "sent", f"{self.sent:,}", f"{self.sent / seconds:,.0f}/s")
        add_row(table, "duplicates", f"{self.duplicates:,}", "")
        add_row(table, "refused", f"{self.refused.total():,}", str(self.refused_path or "") if self.refused else "")
        for reason, count in self.refused.most_common():
            add_row(table, f"  {reason}", f"{count:,}", self.why.get(reason, ""))
        for cells in (*self._other_records(), *self._conversions()):
            add_row(table, *cells)
        for name, count in self.failed.most_common():
            add_row(table, "not delivered", f"{count:,}", name)
        ends = {"stopped": self.error, "look at": self.far_more, "why": self.likely_cause}
        if self.interrupted:
            ends["interrupted"] = "what was on its way has been delivered"
        for what, sentence in ends.items():
            if sentence:
                add_row(table, what, "", sentence)
        for cells in self._deletes():
            add_row(table, *cells)
        return table

    def _other_records(self) -> Iterator[tuple[str, str, str]]:
        if self.left_out:
            yield "left out", f"{self.left_out.total():,}", "by the mapping"
        for reason, count in self.left_out.most_common(SHOWN):
            yield f"  {reason}", f"{count:,}", ""
        if self.joined:
            yield "joined", f"{self.joined:,}", "records that went into others"
        if self.made:
            yield "made", f"{self.made:,}", "further events of a record"

    def _conversions(self) -> Iterator[tuple[str, str, str]]:
        for name, fact in self.notes.facts.items():
            yield name, "", fact
        for what, count in self.notes.counts.most_common(SHOWN):
            yield "converted", f"{count:,}", f"{what}, as of {self.notes.examples[what]!r}"

    def _deletes(self) -> Iterator[tuple[str, str, str]]:
        if self.verdict is None:
            return
        count, of = f"{len(self.verdict.gone):,}", f"of {self.verdict.live:,} live items"
        if self.verdict.why_not:
            yield "nothing deleted", "", self.verdict.why_not
        elif self.removal is not None:
            yield "deleted", f"{self.removal.items:,}", of
            if not self.removal.whole:
                yield from (("", "", sentence) for sentence in self.removal.sentences(len(self.verdict.gone)))
        else:
            yield "would delete", count, of
        if self.dry_run:
            yield from (("", "", item_id) for item_id in self.verdict.gone[:SHOWN])
            if (more := len(self.verdict.gone) - SHOWN) > 0:
                yield "", "", f"and {more:,} more"


class HeavyHitters:
    """Finds a shopper's id that has far more events than any other: it may be what all guests share.

    Keeps the counts of the ids that are frequent (Misra and Gries 1982), in bounded memory.

    Examples
    --------
    >>> shoppers = HeavyHitters()
    >>> for n in range(3_000): shoppers.add("anonymous" if n % 3 else f"u{n}")
    >>> shoppers.far_more()[:44]
    "'anonymous' has 2,000 of 3,000 events, far m"
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self.capacity, self.total = capacity, 0
        self._counts: Counter[str] = Counter()

    def add(self, shopper: str) -> None:
        """Count an event."""
        self.total += 1
        self._counts[shopper] += 1
        if len(self._counts) > self.capacity:
            self._counts = Counter({name: count - 1 for name, count in self._counts.items() if count > 1})

    def far_more(self) -> str:
        """A sentence on the id, if there is one; else empty."""
        (name, most), (_, second) = (*self._counts.most_common(2), ("", 0), ("", 0))[:2]
        if self.total < 1_000 or most < self.total / 100 or most < 20 * max(1, second):
            return ""
        return (
            f"{name[:50]!r} has {most:,} of {self.total:,} events, far more than any other shopper: if guests share "
            "it, add it to events.guest_ids and send again"
        )


class RefusedFile:
    """The refused lines, complete, as JSON lines; the file is created with the first of them.

    ``source`` holds the line as text; if it is not UTF-8, in base64 with ``"encoding": "base64"`` beside it.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def write(self, entry: Entry, refusal: Refusal) -> None:
        """Add a line."""
        if self.path is None:
            return
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8")
        record = {"line": entry.line.number, "reason": refusal.reason, "detail": refusal.detail}
        try:
            record["source"] = entry.line.raw.decode()
        except UnicodeDecodeError:
            record |= {"source": b64encode(entry.line.raw).decode(), "encoding": "base64"}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()
