"""A benchmark's result: a table for people and JSON for machines, both with the facts of the machine.

Knows rows of named values; nothing of what was measured.
"""

import json
import os
import platform
import sys
import time
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.table import Table

Value = str | int | float | bool | None


class Report:
    """Rows under one name.

    Examples
    --------
    >>> report = Report("demo", pairs=100)
    >>> report.row(scorer="constant", pairs_per_s=1.5e6)
    >>> sorted(report.data())
    ['facts', 'machine', 'made_at', 'name', 'rows']
    """

    def __init__(self, name: str, **facts: Value) -> None:
        self.name = name
        self.facts: dict[str, Value] = dict(facts)
        self.rows: list[dict[str, Value]] = []

    def row(self, **columns: Value) -> None:
        """Add a row; its columns are the keywords, in their order."""
        self.rows.append(columns)

    def data(self) -> dict[str, object]:
        """All there is, ready for JSON."""
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {"name": self.name, "made_at": made, "machine": machine(), "facts": self.facts, "rows": self.rows}

    def write(self, path: Path | None = None) -> None:
        """Print the rows, those of each ``part`` as a table of their own; with a path, write the JSON there too."""
        console = Console() if sys.stdout.isatty() else Console(width=160)
        for part in dict.fromkeys(row.get("part") for row in self.rows):
            rows = [{name: row[name] for name in row if name != "part"} for row in self.rows if row.get("part") == part]
            console.print(_table(self.name if part is None else f"{self.name}: {part}", rows))
        for name, value in {**self.facts, **machine()}.items():
            console.print(f"{name.replace('_', ' ')}: {_shown(value)}", highlight=False)
        if path is not None:
            path.write_text(json.dumps(self.data(), indent=2) + "\n")
            console.print(f"written to {path}", highlight=False)


def _table(title: str, rows: list[dict[str, Value]]) -> Table:
    table = Table(title=title)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for column in columns:
        numeric = any(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_shown(row.get(column)) for column in columns))
    return table


def machine() -> dict[str, Value]:
    """What the figures depend on: processor, cores, threads, memory, versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_average": round(psutil.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _shown(value: Value) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else value
