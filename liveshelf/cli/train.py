"""The command ``liveshelf train``: help texts and options; `liveshelf.training.run` does the work."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from liveshelf.cli.options import number, pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.ranker import Kind
    from models.training.descriptions import Descriptions

Pairs = Annotated[list[str] | None, typer.Option("--map", help="FIELD=COLUMN, such as item=title; repeatable.")]
Losses = Annotated[list[str] | None, typer.Option("--loss", help="NAME=WEIGHT; repeatable. See docs/training.md.")]
METHODS = "head, lora, adalora, prefix, adapter, full, query_encoder or cross_encoder."


def train(
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="Examples as JSON lines, .gz or .xz.")
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Events instead of examples, in a format that replay takes."),
    ] = None,
    from_history: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Purchases in any order, to learn a ranker by behaviour from; repeatable.",
        ),
    ] = None,
    ranker: Annotated[
        Literal["linear", "trees", "network"], typer.Option(help="What ranks, with --from-history.")
    ] = "trees",
    orders: Annotated[
        int, typer.Option(min=200, help="With --from-history: the newest orders that are learned from and judged by.")
    ] = 2_000,
    items: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The catalogue, in a format that import items takes."),
    ] = None,
    events_mapping: Annotated[
        str | None, typer.Option(help="The mapping of the events: a preset, or a TOML file.")
    ] = None,
    items_mapping: Annotated[
        str | None, typer.Option(help="The mapping of the items: a preset, or a TOML file.")
    ] = None,
    shelves: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Records of liveshelf.shelves, as JSON lines.")
    ] = None,
    debias: Annotated[
        bool, typer.Option("--debias", help="Weight ignored items by how often their position is looked at.")
    ] = False,
    negatives: Annotated[int | None, typer.Option(min=1, help="Fill contexts up to this many negatives.")] = None,
    mine: Annotated[
        Literal["lexical", "vector", "both", "random"] | None,
        typer.Option(help="The source of negatives; by default the other contexts of a batch."),
    ] = None,
    dev: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Examples to evaluate on.")] = None,
    method: Annotated[str, typer.Option(help=METHODS)] = "head",
    layers: Annotated[int, typer.Option(min=1, help="Of the encoder that --method query_encoder makes.")] = 3,
    parent: Annotated[
        str | None, typer.Option(help="The version to start from: an id, its first characters, or champion.")
    ] = None,
    fields: Pairs = None,
    grades: Annotated[str, typer.Option(help="Lowest and highest grade in the file.")] = "0:1",
    losses: Losses = None,
    epochs: Annotated[float | None, typer.Option(min=0.01, help="Default: the method's own.")] = None,
    rate: Annotated[float | None, typer.Option(help="Peak learning rate of the encoder's weights.")] = None,
    head_rate: Annotated[float | None, typer.Option(help="Peak learning rate of the head.")] = None,
    contexts: Annotated[int | None, typer.Option(min=1, help="Contexts in a batch.")] = None,
    accumulation: Annotated[int, typer.Option(min=1, help="Batches in a step.")] = 1,
    patience: Annotated[int, typer.Option(min=0, help="Stop after this many evaluations without gain; 0: never.")] = 0,
    unlabelled: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Unlabelled pairs; descriptions of the intents label them."),
    ] = None,
    descriptions: Annotated[
        list[str] | None,
        typer.Option("--describe", help="INTENT=WORDS around {query}: describes an intent for --unlabelled."),
    ] = None,
    older: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Older examples, to train on again.")
    ] = None,
    older_share: Annotated[
        float, typer.Option(min=0, max=0.95, help="Share of the contexts drawn from --older.")
    ] = 0.3,
    keep: Annotated[
        float, typer.Option(min=0, help="Weight of the parent's own predictions: on --older if given, else on all.")
    ] = 0.0,
    l2_sp: Annotated[float, typer.Option(min=0, help="Weight of an L2 penalty towards the initial weights.")] = 0.0,
    limit: Annotated[int | None, typer.Option(min=1, help="How many examples to read at most.")] = None,
    folder: Annotated[Path, typer.Option(help="The folder for checkpoints and logs.")] = Path(".liveshelf/training"),
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint in the folder.")] = False,
    report_to: Annotated[list[str] | None, typer.Option(help="tensorboard, wandb, mlflow, none …")] = None,
    search: Annotated[
        int, typer.Option(min=0, help="Search learning rates and training length first, in this many trials.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="The seed of order and dropout.")] = 0,
    notes: Annotated[str, typer.Option(help="Stored with the version.")] = "",
) -> None:
    """Train a scorer on labelled examples and store it as a version.

    A line of the file is `{"query": "hose", "item": "Garden hose, 20 m", "intent": "buy"}`, or has a `grade` instead of
    the intent. Follow a run with `tensorboard --logdir .liveshelf/training/logs`; on several GPUs start it with
    `accelerate launch --multi_gpu -m liveshelf train …`.

    Example: `liveshelf train pairs.jsonl.xz --map item=title --map grade=relevance --grades 1:3 --method lora`
    """
    from liveshelf.terminal import console, explain_errors, require, settings

    with explain_errors():
        require("train")
    from liveshelf.training.data import EventFiles, item_texts
    from liveshelf.training.run import Examples, Source, run_train
    from liveshelf.training.steps import MINED, Describing, Mining, Rehearsal, Step
    from models.training.config import DEFAULT_LOSSES, TrainConfig
    from models.training.losses import LOSSES
    from models.training.methods import RECIPES

    if method not in RECIPES:
        raise typer.BadParameter(f"{method!r} is none of {', '.join(RECIPES)}", param_hint="--method")
    if from_history:
        if file or events or not items:
            raise typer.BadParameter("--from-history needs --items, and neither a file of examples nor --events")
        with explain_errors():
            _from_history(
                from_history, items, events_mapping, items_mapping, fields or (), ranker, orders, parent, seed, notes
            )
        return
    if (file is None) == (events is None) or (events and not items) or (events and dev):
        raise typer.BadParameter("give a file of examples, or --events and --items; --dev goes with the former")
    if keep and not parent:
        raise typer.BadParameter("there is no parent whose predictions to keep; give --parent", param_hint="--keep")
    weights = {name: number(value, "--loss") for name, value in pairs(losses, "--loss").items()}
    if unknown := sorted(set(weights) - set(LOSSES)):
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(LOSSES)}", param_hint="--loss")
    low, _, high = grades.partition(":")
    config = TrainConfig(
        method=method,
        layers=layers,
        losses=(weights or DEFAULT_LOSSES) | ({"distil": keep} if keep else {}),
        epochs=epochs,
        rate=rate,
        head_rate=head_rate,
        contexts=contexts,
        accumulation=accumulation,
        patience=patience,
        negatives=0 if mine else negatives or 0,
        l2_sp=l2_sp,
        seed=seed,
        folder=folder,
        items_folder=folder / "items",
        resume=resume,
        report_to=tuple(report_to or ("tensorboard",)),
        progress=console.is_terminal,
    )
    source: Examples
    reading = pairs(fields, "--map"), (number(low, "--grades"), number(high, "--grades"))
    catalogue: tuple[str, ...] = ()
    with explain_errors():
        if file is not None:
            source = Source(file, dev, *reading, limit)
            catalogue = tuple(item_texts(items, items_mapping).values()) if items and mine else ()
        elif events is not None and items is not None:
            history = EventFiles(
                events, items, events_mapping, items_mapping, shelves, limit, debias, bots=settings().bots
            )
            source = found = history.label()
            catalogue = found.catalogue
            console.print(found.table())
        steps: list[Step] = []
        if unlabelled:
            steps.append(Describing(Source(unlabelled, None, *reading), _described(descriptions)))
        if mine:
            steps.append(Mining(mine, negatives or MINED, catalogue))
        if older or keep:
            steps.append(Rehearsal(Source(older, None, *reading) if older else None, older_share))
        run_train(settings(), source, config, steps=steps, trials=search, parent=parent, notes=notes, console=console)


def _from_history(
    files: "Sequence[Path]",
    items: Path,
    events_mapping: str | None,
    items_mapping: str | None,
    fields: "Sequence[str]",
    kind: "Kind",
    orders: int,
    parent: str | None,
    seed: int,
    notes: str,
) -> None:
    from liveshelf.terminal import console, settings
    from liveshelf.training.data import mapped
    from liveshelf.training.from_history import run_history
    from liveshelf.training.history import HistoryFiles

    history = HistoryFiles(files, items, mapped(events_mapping).changed(fields), mapped(items_mapping))
    run_history(settings(), history, kind=kind, orders=orders, parent=parent, seed=seed, notes=notes, console=console)


def _described(given: list[str] | None) -> "Descriptions":
    from models.training.descriptions import DEFAULT, Descriptions

    try:
        return Descriptions(DEFAULT | pairs(given, "--describe"))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--describe") from None
