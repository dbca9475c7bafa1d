"""The command ``liveshelf prepare``: its words and options; the work is done in ``evaluator.preparation``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from liveshelf.cli.options import number, pairs

Files = Annotated[list[Path], typer.Argument(help="CSV, JSON lines or Parquet, plain, .gz or .xz; all of one kind.")]
KindName = Literal["transactions", "behaviour", "profiles", "items", "pairs"]


def prepare(
    files: Files,
    out: Annotated[Path, typer.Option(help="Folder of the splits and of the data card.")] = Path("prepared"),
    kind: Annotated[KindName | None, typer.Option(help="What a row is; else guessed by the columns.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="FIELD=NAME of the file's column; repeatable.")] = None,
    show_mapping: Annotated[
        bool, typer.Option("--show-mapping", help="Show which column is which field, and write nothing.")
    ] = False,
    split: Annotated[
        Literal["time", "query", "user", "none"] | None, typer.Option(help="What no two splits share.")
    ] = None,
    shares: Annotated[str, typer.Option(help="Of train, dev and test, or of train and test.")] = "0.8,0.1,0.1",
    keep: Annotated[list[str] | None, typer.Option(help="A rule that only counts; repeatable.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="A rule that drops rows; repeatable.")] = None,
    time_zone: Annotated[str, typer.Option(help="Of times that name none.")] = "UTC",
    date_order: Annotated[
        Literal["day", "month"] | None, typer.Option(help="What comes first in 1/12/2010; else seen from the data.")
    ] = None,
    decimal: Annotated[
        Literal["point", "comma"] | None, typer.Option(help="The decimal mark; else seen from the data.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Of all prices afterwards; else the most frequent.")] = None,
    rate: Annotated[list[str] | None, typer.Option(help="CODE=UNITS of that currency for one; repeatable.")] = None,
    service_codes: Annotated[str | None, typer.Option(help="Pattern of the codes of postage, fees and tests.")] = None,
    encoding: Annotated[str, typer.Option(help="Of text files.")] = "utf-8",
    seed: Annotated[int, typer.Option(help="Of the split by query or user.")] = 0,
) -> None:
    """Clean a shop's files and split them without leakage; a data card says what was dropped, and why.

    Example: `liveshelf prepare transactions.csv.xz --split time --time-zone Europe/London --out prepared`
    """
    from liveshelf.terminal import explain_errors, require

    with explain_errors():
        require("evaluate")
        from evaluator.preparation.rules import SERVICE_CODES
        from evaluator.preparation.spec import Spec
        from liveshelf.preparation import carry_out, mapping_table

        spec = Spec(
            files=tuple(files),
            columns=pairs(column, "--column"),
            kind=kind,
            split=split,
            shares=tuple(number(one, "--shares") for one in shares.split(",")),
            keep=tuple(keep or ()),
            drop=tuple(drop or ()),
            time_zone=time_zone,
            date_order=date_order,
            decimal=decimal,
            currency=currency,
            rates={code: number(units, "--rate") for code, units in pairs(rate, "--rate").items()},
            service_codes=service_codes or SERVICE_CODES,
            encoding=encoding,
            seed=seed,
        )
        if show_mapping:
            mapping_table(spec)
        else:
            carry_out(spec, out)
