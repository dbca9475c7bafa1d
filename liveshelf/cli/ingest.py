"""The commands ``liveshelf import items`` and ``liveshelf replay``: their words and options."""

from pathlib import Path
from typing import Annotated

import typer

from liveshelf.terminal import console, explain_errors, reached, settings

importing = typer.Typer(no_args_is_help=True, help="Send a catalogue to Kafka.")

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Plain, .gz or .xz.")]
Preset = Annotated[str | None, typer.Option(help="A mapping that comes with Liveshelf, such as icecat.")]
Mapping = Annotated[Path | None, typer.Option("--mapping", help="A mapping of your own, as TOML.")]
Fields = Annotated[list[str] | None, typer.Option("--map", help="FIELD=COLUMN or FIELD='{template}'; repeatable.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Send at most so many.")]
Rate = Annotated[float | None, typer.Option(min=0.001, help="Send at most so many a second.")]
Refused = Annotated[Path | None, typer.Option(help="Where refused lines go; FILE.refused.jsonl unless given.")]


@importing.command("items")
def import_items(
    file: File,
    preset: Preset = None,
    mapping: Mapping = None,
    fields: Fields = None,
    limit: Limit = None,
    rate: Rate = None,
    refused: Refused = None,
    sync: Annotated[bool, typer.Option("--sync", help="Then delete the items that the file does not have.")] = False,
    allow: Annotated[
        float | None,
        typer.Option("--allow-deletes", min=0, max=1, help="The share of the live items that --sync may delete; 0.2."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent and deleted.")] = False,
) -> None:
    """Send a catalogue: JSON lines in our own shape, or CSV and others through a mapping.

    Example: `liveshelf import items products.csv --map item_id=sku --map title=name --sync --dry-run`
    """
    if sync and limit is not None:
        raise typer.BadParameter("--sync needs the whole file, so it takes no --limit", param_hint="--sync")
    if allow is not None and not sync:
        raise typer.BadParameter("it says how much --sync may delete, and needs that", param_hint="--allow-deletes")
    from liveshelf.ingest import importer, removals
    from streams.events.adapters.mapping import load as load_mapping

    with explain_errors():
        config = reached(settings(), redis=False)
        chosen = load_mapping(preset, mapping, fields or ())
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
    raise typer.Exit(summary.exit_code)


def replay(
    file: File,
    preset: Preset = None,
    mapping: Mapping = None,
    fields: Fields = None,
    limit: Limit = None,
    rate: Rate = None,
    speed: Annotated[float | None, typer.Option(min=0.001, help="Times as fast as it happened.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end, with new event ids.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Move all times: the last event is dated when sent.")] = False,
    refused: Refused = None,
) -> None:
    """Send events: JSON lines in our own shape, CSV through a mapping, or an OpenSearch UBI bulk file.

    Example: `liveshelf replay ubi.ndjson --preset ubi --rate 100`
    """
    from liveshelf.ingest import importer
    from streams.events.adapters.mapping import load as load_mapping

    with explain_errors():
        config = reached(settings(), redis=False)
        chosen = load_mapping(preset, mapping, fields or ())
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
        )
    console.print(summary.table())
    raise typer.Exit(summary.exit_code)
