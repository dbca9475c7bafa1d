"""The commands ``liveshelf import items`` and ``liveshelf replay``: help texts and options."""

from pathlib import Path
from typing import Annotated

import typer

from liveshelf.terminal import console, explain_errors, reached, settings

importing = typer.Typer(no_args_is_help=True, help="Send a catalogue to Kafka.")

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The file: plain, .gz or .xz.")]
Preset = Annotated[str | None, typer.Option(help="A mapping that comes with Liveshelf, such as icecat.")]
Mapping = Annotated[Path | None, typer.Option("--mapping", help="Your own mapping, a TOML file.")]
Fields = Annotated[list[str] | None, typer.Option("--map", help="FIELD=COLUMN or FIELD='{template}'; repeatable.")]
Limit = Annotated[int | None, typer.Option(min=1, help="How many records to send at most.")]
Rate = Annotated[float | None, typer.Option(min=0.001, help="How many records to send a second at most.")]
Refused = Annotated[Path | None, typer.Option(help="The file for refused lines; default FILE.refused.jsonl.")]


@importing.command("items")
def import_items(
    file: File,
    preset: Preset = None,
    mapping: Mapping = None,
    fields: Fields = None,
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent and deleted.")] = False,
) -> None:
    """Send a catalogue: JSON lines in Liveshelf's own format, or CSV and other formats through a mapping.

    Example: `liveshelf import items products.csv --map item_id=sku --map title=name --sync --dry-run`
    """
    if sync and limit is not None:
        raise typer.BadParameter("--sync needs the whole file, so it takes no --limit", param_hint="--sync")
    if allow is not None and not sync:
        raise typer.BadParameter("it limits what --sync may delete; give --sync too", param_hint="--allow-deletes")
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
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Replay this many times as fast as it happened.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Start again at the end, with new event ids.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Move all times so that the last event is dated when it is sent.")
    ] = False,
    refused: Refused = None,
) -> None:
    """Send events: JSON lines in Liveshelf's own format, CSV through a mapping, or an OpenSearch UBI bulk file.

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
