"""A preparation of data from the terminal: the columns of a file, progress, a table, and where the data card is.

Knows the terminal; what is dropped and why is the business of ``evaluator.preparation``.
"""

import tempfile
from pathlib import Path

from rich.table import Table

from evaluator.preparation.card import Card
from evaluator.preparation.plan import sample
from evaluator.preparation.run import run
from evaluator.preparation.spec import Spec
from evaluator.preparation.tables import ALIASES
from liveshelf.terminal import NONE, add_row, console, plain, progress


def mapping_table(spec: Spec) -> None:
    """Show the kind of the first file, the column of each field, and some values.

    Raises
    ------
    DataError
        When the file cannot be read or understood.
    """
    with tempfile.TemporaryDirectory() as folder:
        kind, names, head = sample(spec, Path(folder))
    others = [name for name in head.columns if name not in names.values()]
    caption = f"Change it with --column FIELD=NAME. Other columns stay as they are: {', '.join(others) or 'none'}"
    table = Table("field", "column", "its first values", title=f"{kind}: fields and columns", caption=plain(caption))
    for field in ALIASES:
        values = ", ".join(map(str, head.get_column(names[field]).head(3))) if field in names else NONE
        add_row(table, field, names.get(field, NONE), values)
    console.print(table)


def carry_out(spec: Spec, out: Path) -> Card:
    """Prepare with a progress bar, and print what was dropped and why.

    Raises
    ------
    DataError
        When the files cannot be prepared; nothing is written then.
    """
    with progress("preparing") as say:
        card = run(spec, out, lambda _, done, total: say(done, total or None))
    table = Table("rule", "rows found", "rows dropped", title="Why rows were dropped")
    for rule in card.rules:
        if rule.found:
            add_row(
                table, rule.name, f"{rule.found:,}", f"{rule.dropped:,}" if rule.action == "drop" else "only counted"
            )
    console.print(table)
    for sentence in card.assumptions:
        console.print(plain(f"Assumed: {sentence}"))
    for check in card.checks:
        if not check.passed:
            console.print(plain(f"Leakage: {check.sentence} {check.found:,} of {check.of:,}."), style="red")
    sizes = ", ".join(f"{split.name} {split.rows:,}" for split in card.splits)
    console.print(plain(f"{card.rows_in:,} rows in, {card.rows_out:,} out: {sizes}."))
    console.print(plain(f"The data card is {out / 'card.html'}."))
    return card
