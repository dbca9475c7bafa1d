"""The command ``liveshelf evaluate``: its words and options; the work is done in ``evaluator.offline``."""

from pathlib import Path
from typing import Annotated

import typer

from liveshelf.cli.options import pairs

Contenders = Annotated[
    list[str] | None,
    typer.Argument(
        help="KIND or KIND:NAME each, the first is the reference; none shows what kinds there are. "
        "With --compare: folders of runs."
    ),
]


def evaluate(
    contenders: Contenders = None,
    data: Annotated[Path | None, typer.Option(help="What is ranked: CSV, JSON lines or Parquet.")] = None,
    train: Annotated[Path | None, typer.Option(help="What contenders may learn from.")] = None,
    items: Annotated[Path | None, typer.Option(help="Texts of the items, where the data has none.")] = None,
    task: Annotated[
        str, typer.Option(help="graded, clicks, feed, or held_out for the slice of a trainer's gate.")
    ] = "graded",
    column: Annotated[list[str] | None, typer.Option(help="FIELD=COLUMN of the file; repeatable.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results and the report.")] = Path("evaluation"),
    resume: Annotated[bool, typer.Option(help="Go on with the evaluation that the folder holds.")] = False,
    dimension: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Evaluate so many cases only, drawn by the seed.")] = 0,
    draws: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    price_per_core_hour: Annotated[float, typer.Option(min=0.0, help="What an hour of one core costs.")] = 0.05,
    hide_texts: Annotated[
        bool, typer.Option("--hide-texts", help="No query and no item's text in the report, to give it to others.")
    ] = False,
    gate: Annotated[Path | None, typer.Option(help="Thresholds in TOML; exit code 1 where one is not kept.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Where the gate's checks are written as JUnit XML.")] = None,
    export: Annotated[list[str] | None, typer.Option(help="mlflow, wandb or tensorboard; repeatable.")] = None,
    store: Annotated[
        str | None,
        typer.Option(help="A model store: the report shows how its past canaries went. Contenders name theirs."),
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare finished runs over time.")] = False,
) -> None:
    """Compare models on the same data: effect, robustness, explanations, cost and fairness, in one report.

    Example: `liveshelf evaluate random bm25 cosine version:models#champion --data dev.jsonl --train train.jsonl`
    """
    from liveshelf.terminal import console, explain_errors, plain, require

    with explain_errors():
        require("evaluate")
        if not contenders and not compare:
            _show_kinds()
            return
        from evaluator.gate import held_out
        from evaluator.gate.thresholds import read
        from evaluator.offline import exports
        from evaluator.offline.spec import Spec
        from liveshelf import evaluation

        if compare:
            evaluation.compare([Path(one) for one in contenders or ()], out)
            return
        if data is None:
            raise typer.BadParameter("is missing: name the file that is ranked", param_hint="--data")
        spec = Spec(
            data=str(data),
            task="held_out" if data.name == held_out.FILE else task,  # type: ignore[arg-type]
            train=str(train or ""),
            items=str(items or ""),
            columns=dict(pairs(column, "--column")),
            limit=limit,
            contenders=list(dict.fromkeys(contenders or ())),
            dimensions=list(dimension or ()),
            draws=draws,
            seed=seed,
            price_per_core_hour=price_per_core_hour,
            hide_texts=hide_texts,
        )
        if junit is not None and gate is None:
            raise typer.BadParameter("has nothing to write without --gate", param_hint="--junit")
        thresholds = None if gate is None else read(gate)
        exports.ready(export or [])
        summary = evaluation.carry_out(spec, out, resume, store)
        if not summary.rows:
            raise typer.Exit(1)
        for kind in export or ():
            console.print(plain(exports.export(kind, spec, summary, out)))
        if thresholds is not None and not evaluation.keeps(thresholds, summary, spec, junit):
            raise typer.Exit(1)


def _show_kinds() -> None:
    """What kinds of contenders there are; their libraries are not loaded."""
    from rich.table import Table

    from evaluator.offline.contenders import contender
    from liveshelf.terminal import console

    caption = "A name is KIND or KIND:NAME, such as cosine:intfloat/multilingual-e5-small"
    table = Table("kind", "what", title="Contenders", caption=caption)
    for name, kind in sorted(contender.kinds().items()):
        table.add_row(name, kind.says)
    console.print(table)
