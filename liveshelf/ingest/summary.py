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
from streams.events.adapters.gate import Entry
from streams.events.decode import Refusal

SHOWN = 20
"""How many of the ids to delete a dry run shows."""


@dataclass(slots=True)
class ImportSummary:
    """The result of sending a file. ``sent`` counts records that the broker acknowledged; ``read`` the file's records.

    In a dry run ``sent`` counts what would be sent. ``verdict`` is set if items that the file does not have were to be
    deleted, ``removal`` if they were.
    """

    read: int = 0
    sent: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    error: str = ""
    interrupted: bool = False
    refused_path: Path | None = None
    dry_run: bool = False
    verdict: Verdict | None = None
    removal: Removal | None = None

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
        add_row(table, "read", f"{self.read:,}", f"{self.read / max(self.seconds, 1e-9):,.0f}/s")
        add_row(
            table,
            "would send" if self.dry_run else "sent",
            f"{self.sent:,}",
            f"{self.sent / max(self.seconds, 1e-9):,.0f}/s",
        )
        add_row(table, "duplicates", f"{self.duplicates:,}", "")
        add_row(table, "refused", f"{self.refused.total():,}", str(self.refused_path or "") if self.refused else "")
        for reason, count in self.refused.most_common():
            add_row(table, f"  {reason}", f"{count:,}", "")
        for name, count in self.failed.most_common():
            add_row(table, "not delivered", f"{count:,}", name)
        if self.error:
            add_row(table, "stopped", "", self.error)
        if self.interrupted:
            add_row(table, "interrupted", "", "what was on its way has been delivered")
        for cells in self._deletes():
            add_row(table, *cells)
        return table

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
