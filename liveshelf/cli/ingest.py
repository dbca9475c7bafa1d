"""The commands ``liveshelf import`` and ``liveshelf replay``: help texts and options."""

from pathlib import Path
from typing import Annotated

import typer

from liveshelf.terminal import console, explain_errors, in_own_language, plain, progress, reached, settings
from streams.events.decode import Refusal

importing = typer.Typer(help="Send a catalogue or a history to Kafka.")


def checked(file: str) -> str:
    """The file, if it is there or a URL; BadParameter if not."""
    if "://" not in file and not Path(file).is_file():
        raise typer.BadParameter(in_own_language(f"{file!r} is no file"), param_hint="FILE")
    return file


File = Annotated[
    str,
    typer.Argument(callback=checked, help="A file, plain, .gz, .bz2 or .xz, or a URL such as s3://bucket/items.csv."),
]
Preset = Annotated[str | None, typer.Option(help="A mapping that comes with Liveshelf, such as shopify.")]
Mapping = Annotated[Path | None, typer.Option("--mapping", help="Your own mapping, a TOML file.")]
Fields = Annotated[list[str] | None, typer.Option("--map", help="FIELD=COLUMN or FIELD='{template}'; repeatable.")]
Values = Annotated[
    list[str] | None, typer.Option("--map-value", help="FIELD.VALUE=OURS, as type.view=click; repeatable.")
]
Form = Annotated[str | None, typer.Option("--format", help="csv, jsonl, json, xml, parquet or ubi; found by default.")]
Encoding = Annotated[str | None, typer.Option(help="The text's encoding, such as cp1252; found by default.")]
Delimiter = Annotated[str | None, typer.Option(help="Between the columns of a table; found by default.")]
Quote = Annotated[str | None, typer.Option(help="Around cells of a table; none if quotes are letters as any.")]
Decimal = Annotated[str | None, typer.Option(help="The decimal mark of prices, . or , ; found by default.")]
Inside = Annotated[
    str | None, typer.Option("--path", help="Where records are: data.products[] in JSON, an XML element.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="How many records to send at most.")]
Rate = Annotated[float | None, typer.Option(min=0.001, help="How many records to send a second at most.")]
Refused = Annotated[Path | None, typer.Option(help="The file for refused lines; default FILE.refused.jsonl.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent and deleted.")]


@importing.callback(invoke_without_command=True)
def importing_of(
    context: typer.Context,
    guess: Annotated[
        str | None, typer.Option(metavar="FILE", help="Only say what a file is, and the command that imports it.")
    ] = None,
) -> None:
    """Send a catalogue or a history to Kafka.

    Example: `liveshelf import --guess products.csv`
    """
    if guess is None:
        if context.invoked_subcommand is None:
            console.print(context.get_help())
        return
    from streams.clock import wall_ms
    from streams.events.adapters.proposal import propose
    from streams.events.schema import encoder

    file = checked(guess)
    with explain_errors():
        found = propose(file, wall_ms(), settings().events)
    lines = [f"{name}: {fact}" for name, fact in found.facts.items()]
    lines.append(f"names: {', '.join(found.names[:40])}")
    lines.append(f"{found.kind}, preset {found.preset}" if found.preset else f"{found.kind}, by the names of columns")
    for one in found.examples:
        lines.append(one.detail if isinstance(one, Refusal) else encoder.encode(one).decode()[:500])
    if not any(not isinstance(one, Refusal) for one in found.examples):
        lines.append("Nothing could be read so: change --map, or write a mapping (docs/import.md).")
    for line in [*lines, "", found.command(file)]:
        console.print(plain(line), soft_wrap=True)


@importing.command("items")
def import_items(
    file: File,
    preset: Preset = None,
    mapping: Mapping = None,
    fields: Fields = None,
    values: Values = None,
    form: Form = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    decimal: Decimal = None,
    inside: Inside = None,
    limit: Limit = None,
    rate: Rate = None,
    refused: Refused = None,
    sync: Annotated[bool, typer.Option("--sync", help="Then delete the items that are not in the file.")] = False,
    allow: Annotated[
        float | None,
        typer.Option(
            "--allow-deletes", min=0, max=1, help="The share of the live items that --sync may delete; default 0.2."
        ),
    ] = None,
    dry_run: DryRun = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Then wait until workers have encoded the items."),
    ] = False,
) -> None:
    """Send a catalogue: in Liveshelf's own names, or any other through a preset or a mapping.

    Example: `liveshelf import items products.csv --preset shopify --sync --dry-run`
    """
    if sync and limit is not None:
        raise typer.BadParameter("--sync needs the whole file, so it takes no --limit", param_hint="--sync")
    if allow is not None and not sync:
        raise typer.BadParameter("it limits what --sync may delete; give --sync too", param_hint="--allow-deletes")
    from liveshelf.ingest import importer, removals
    from streams.events.adapters.mapping import load as load_mapping

    with explain_errors():
        config = settings() if dry_run and not sync else reached(settings(), redis=False)
        chosen = load_mapping(
            preset, mapping, fields or (), values or (), format=form, encoding=encoding, delimiter=delimiter,
            quote=quote, decimal=decimal, records=inside,
        )  # fmt: skip
        summary = importer.import_items(
            file,
            kafka=config.kafka,
            topics=config.topics,
            events=config.events,
            mapping=chosen,
            limit=limit,
            rate=rate,
            refused_path=refused or importer.refused_path(file),
            console=console,
            sync=(removals.ALLOWED if allow is None else allow) if sync else None,
            dry_run=dry_run,
        )
    console.print(summary.table())
    if wait and summary.sent and not (dry_run or summary.error or summary.interrupted):
        with explain_errors(), progress("encoding") as step:
            importer.wait_for_workers(
                config.kafka, config.topics, config.worker.group, step, lambda said: console.print(said, style="yellow")
            )
        console.print("Workers have taken all items.")
    raise typer.Exit(summary.exit_code)


@importing.command("events")
def import_events(
    file: File,
    preset: Preset = None,
    mapping: Mapping = None,
    fields: Fields = None,
    values: Values = None,
    form: Form = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    decimal: Decimal = None,
    inside: Inside = None,
    limit: Limit = None,
    refused: Refused = None,
    dry_run: DryRun = False,
) -> None:
    """Send a history as it is and as fast as possible; `liveshelf replay` can also do it in its own time.

    Example: `liveshelf import events ga4.jsonl --preset ga4 --dry-run`
    """
    replay(
        file, preset, mapping, fields, values, form, encoding, delimiter, quote, decimal, inside, limit,
        refused=refused, dry_run=dry_run,
    )  # fmt: skip


def replay(
    file: File,
    preset: Preset = None,
    mapping: Mapping = None,
    fields: Fields = None,
    values: Values = None,
    form: Form = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    decimal: Decimal = None,
    inside: Inside = None,
    limit: Limit = None,
    rate: Rate = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Replay this many times as fast as it happened.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Start again at the end, with new event ids.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Move all times so that the last event is dated when it is sent.")
    ] = False,
    refused: Refused = None,
    dry_run: DryRun = False,
) -> None:
    """Send events: in Liveshelf's own names, or any other through a preset or a mapping.

    Example: `liveshelf replay ubi.ndjson --preset ubi --rate 100`
    """
    from liveshelf.ingest import importer
    from streams.events.adapters.mapping import load as load_mapping

    with explain_errors():
        config = settings() if dry_run else reached(settings(), redis=False)
        chosen = load_mapping(
            preset, mapping, fields or (), values or (), format=form, encoding=encoding, delimiter=delimiter,
            quote=quote, decimal=decimal, records=inside,
        )  # fmt: skip
        summary = importer.replay(
            file,
            kafka=config.kafka,
            topics=config.topics,
            events=config.events,
            evaluator=config.evaluator,
            mapping=chosen,
            limit=limit,
            rate=rate,
            speed=speed,
            loop=loop,
            now=now,
            refused_path=refused or importer.refused_path(file),
            console=console,
            dry_run=dry_run,
        )
    console.print(summary.table())
    raise typer.Exit(summary.exit_code)
