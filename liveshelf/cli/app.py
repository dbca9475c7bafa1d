"""The command line: what there is to call, and how each command's work is named to it.

Only words and options live here; the work is done in the modules that commands import when they are called.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from liveshelf.cli.alerts import alerts_app
from liveshelf.cli.dashboard import dashboard
from liveshelf.cli.dead_letters import letters_app
from liveshelf.cli.items import items_app
from liveshelf.cli.models import models_app
from liveshelf.cli.ope import ope
from liveshelf.cli.train import train
from liveshelf.terminal import add_row, console, explain_errors, plain, reached, reached_by_role, require, settings
from streams.telemetry import logs

if TYPE_CHECKING:
    from streams.events.shelf import Shelf
    from streams.redis.client import ShelfClient

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Streaming real-time recommendations: shop events in from Kafka, BERT-ranked shelves out to Redis.",
    epilog="Start with **liveshelf demo**, or **liveshelf up** and then **liveshelf import items FILE**.",
    pretty_exceptions_enable=False,
)
importing = typer.Typer(no_args_is_help=True, help="Send a catalogue to Kafka.")
getting = typer.Typer(no_args_is_help=True, help="Read shelves as a frontend would.")
topics_app = typer.Typer(no_args_is_help=True, help="Kafka topics.")
app.add_typer(importing, name="import")
app.add_typer(getting, name="get")
app.add_typer(items_app, name="items")
app.add_typer(letters_app, name="dead-letters")
app.add_typer(topics_app, name="topics")
app.add_typer(models_app, name="models")
app.add_typer(alerts_app, name="alerts")
app.command()(train)
app.command()(ope)
app.command()(dashboard)

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Plain, .gz or .xz.")]
Preset = Annotated[str | None, typer.Option(help="A mapping that comes with Liveshelf, such as icecat.")]
Mapping = Annotated[Path | None, typer.Option("--mapping", help="A mapping of your own, as TOML.")]
Fields = Annotated[list[str] | None, typer.Option("--map", help="FIELD=COLUMN or FIELD='{template}'; repeatable.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Send at most so many.")]
Rate = Annotated[float | None, typer.Option(min=0.001, help="Send at most so many a second.")]
Refused = Annotated[Path | None, typer.Option(help="Where refused lines go; FILE.refused.jsonl unless given.")]


def main() -> None:
    """Entry point of the ``liveshelf`` program."""
    logs.set_up()
    app()


@app.command()
def up(
    workers: Annotated[int | None, typer.Option(min=1, help="How many worker processes.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where data and logs live.")] = None,
) -> None:
    """Start Kafka, Redis, workers, an evaluator, a trainer and the dashboard here; stop them all on Ctrl-C.

    With KAFKA_BOOTSTRAP_SERVERS or REDIS_URL set, those are used instead. Example: `liveshelf up --workers 2`
    """
    stack = {name: value for name, value in (("workers", workers), ("folder", folder)) if value is not None}
    with explain_errors():
        config = settings(**({"stack": stack} if stack else {}))
        require("train", *(() if config.own_kafka() and config.own_redis() else ("local",)))
        from liveshelf.stack.roles import dashboard_role, evaluator_role, trainer_role, with_metrics, worker_roles
        from liveshelf.stack.supervisor import run_stack

        roles = with_metrics([*worker_roles(config.stack.workers), evaluator_role(), trainer_role()], config)
        roles.append(dashboard_role(config.dashboard))
        raise typer.Exit(run_stack(config, roles, console=console))


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Let the shop go on until Ctrl-C.")] = False,
    seed: Annotated[int, typer.Option(help="Of the catalogue and the simulated shoppers.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the picture of the run goes.")] = Path("liveshelf-demo.png"),
) -> None:
    """See the whole story: a shop opens, learns, is hit by a drift, recovers, and takes a bad model back.

    A local stack of its own, a catalogue, simulated shoppers; about five minutes. Example: `liveshelf demo --keep`
    """
    with explain_errors():
        require("local", "train")
        from liveshelf.demo.story import run_story

        raise typer.Exit(run_story(settings(), seed=seed, keep=keep, out=out, console=console))


@app.command()
def worker() -> None:
    """Answer events until stopped. More workers share the partitions.

    Example: `KAFKA_BOOTSTRAP_SERVERS=broker:9092 REDIS_URL=redis://cache/0 liveshelf worker`
    """
    with explain_errors():
        config = reached_by_role(settings()).streams()
        from streams import reporting
        from streams.kafka import topics

        topics.create(config.kafka, config.topics)
        reporting.announce(config, "worker", config.worker.instance)
        from streams.worker import Worker  # after the servers have answered: models take seconds to load

        raise typer.Exit(Worker(config).run())


@app.command()
def evaluator() -> None:
    """Join impressions with what came of them, until stopped: click rates, and labelled examples to train on.

    Example: `KAFKA_BOOTSTRAP_SERVERS=broker:9092 REDIS_URL=redis://cache/0 liveshelf evaluator`
    """
    with explain_errors():
        config = reached_by_role(settings())
        from streams import reporting
        from streams.kafka import topics

        topics.create(config.kafka, config.topics)
        reporting.announce(config.streams(), "evaluator", config.evaluator.instance)
        from evaluator.process import Evaluator

        raise typer.Exit(Evaluator(config.streams(), config.evaluator, config.alerts).run())


@app.command()
def trainer(
    job: Annotated[bool, typer.Option("--job", hidden=True, help="Make the run whose folder is read.")] = False,
) -> None:
    """Learn from labelled examples until stopped: triggers, training, the gate, and the rollout of what passes.

    Example: `KAFKA_BOOTSTRAP_SERVERS=broker:9092 REDIS_URL=redis://cache/0 liveshelf trainer`
    """
    with explain_errors():
        require("train")
        from evaluator.retraining import run

        config = settings()
        if job:
            run.settle(config.learning.niceness)
            from evaluator.retraining.job import work

            folder = run.asked()
            raise typer.Exit(work(folder, config.loop(), run.say) if folder else 0)
        reached_by_role(config)
        from streams import reporting
        from streams.kafka import topics

        topics.create(config.kafka, config.topics)
        reporting.announce(config.streams(), "trainer", config.learning.instance)
        from evaluator.retraining.trainer import Trainer
        from liveshelf.stack.roles import program

        raise typer.Exit(Trainer(config.loop(), program("trainer", "--job")).run())


@topics_app.command("create")
def topics_create() -> None:
    """Create the topics that are missing; those that are there stay as they are."""
    from streams.kafka import topics

    with explain_errors():
        config = reached(settings(), redis=False)
        made = topics.create(config.kafka, config.topics)
    console.print("\n".join(made) if made else "All topics are there.")


@topics_app.command("apply")
def topics_apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what differs.")] = False,
    shorter: Annotated[
        bool, typer.Option("--shorter", help="Shorten retention too: Kafka deletes what is older.")
    ] = False,
    partitions: Annotated[
        bool, typer.Option("--partitions", help="Add partitions too: shoppers then change partition.")
    ] = False,
) -> None:
    """Change existing topics to what the settings say, as far as nothing is lost by it.

    Example: `LIVESHELF_TOPICS__MAX_MESSAGE_BYTES=4194304 liveshelf topics apply --dry-run`
    """
    from streams.kafka import topics

    with explain_errors():
        config = settings()
        found = topics.differences(config.kafka, config.topics)
        if partitions and any(one.change is topics.Change.PARTITIONS for one in found):
            console.print(topics.MORE_PARTITIONS, style="yellow", highlight=False)
        done = [] if dry_run else topics.apply(config.kafka, config.topics, shorter=shorter, partitions=partitions)
    table = Table("topic", "what", "is now", "settings", "and")
    for one in found:
        table.add_row(one.topic, one.what, one.is_now, one.wanted, "changed" if one in done else one.change.value)
    console.print(table if found else "All topics that are there are as the settings say.")


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


@app.command()
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


def show(shelf: "Shelf | None", as_json: bool) -> None:
    """Print a shelf, or say that there is none and exit 1."""
    from streams.events.shelf import encoder

    if shelf is None:
        console.print("No shelf, and nothing popular to fall back on yet. Is a worker running and a catalogue loaded?")
        raise typer.Exit(1)
    if as_json:
        sys.stdout.write(encoder.encode(shelf).decode() + "\n")
        return
    table = Table(
        "place", "item", "score", "buy", "read", "look", "why", title=plain(f"{shelf.surface} by {shelf.model}")
    )
    for place, item in enumerate(shelf.items, 1):
        chances = (f"{value:.3f}" for value in (item.score, item.buy, item.read, item.look))
        add_row(table, str(place), item.item_id, *chances, item.reason)
    console.print(table)


Json = Annotated[bool, typer.Option("--json", help="The shelf as it stands in Redis.")]
User = Annotated[str | None, typer.Option(help="Whose own ranking to read.")]


@getting.command("feed")
def get_feed(user: str, as_json: Json = False) -> None:
    """A shopper's feed, else what is popular. Example: `liveshelf get feed u1`"""
    with explain_errors():
        show(_shelf(lambda client: client.feed(user)), as_json)


@getting.command("search")
def get_search(query: str, user: User = None, as_json: Json = False) -> None:
    """A query's results, else what is popular. Example: `liveshelf get search "hdmi cable" --user u1`"""
    with explain_errors():
        show(_shelf(lambda client: client.search(query, user)), as_json)


@getting.command("similar")
def get_similar(item: str, as_json: Json = False) -> None:
    """Items like one, else what is popular. Example: `liveshelf get similar 1234`"""
    with explain_errors():
        show(_shelf(lambda client: client.similar(item)), as_json)


@getting.command("popular")
def get_popular(segment: str = "all", as_json: Json = False) -> None:
    """What is in demand. Example: `liveshelf get popular --segment Notebook`"""
    with explain_errors():
        show(_shelf(lambda client: client.popular(segment)), as_json)


def _shelf(get: "Callable[[ShelfClient], Shelf | None]") -> "Shelf | None":
    """What a frontend would get, or exit code 1 and why, where Redis holds no shelf in its place."""
    from streams.events.decode import UNDECODABLE
    from streams.redis.client import ShelfClient

    try:
        return get(ShelfClient.from_url(reached(settings(), kafka=False).redis.url.get_secret_value()))
    except UNDECODABLE as error:
        console.print(plain(f"What Redis holds there is no shelf: {error}. A worker replaces it with its next one."))
        raise typer.Exit(1) from error


@app.command()
def status(seconds: Annotated[float, typer.Option(min=1, help="Over how long to look back.")] = 10.0) -> None:
    """What the workers did lately, how fast, and what Redis holds. Example: `liveshelf status --seconds 60`"""
    from liveshelf.cli import health as condition
    from liveshelf.cli.status import status_tables
    from liveshelf.stack_record import StackRecord
    from streams.clock import wall_ms

    with explain_errors():
        config = settings()
        record = StackRecord.read_live(config.stack.folder)
        if record is not None:
            console.print(condition.processes(record))
        streams = reached(config).streams()
        for sentence in condition.wrong(condition.recent(streams), wall_ms(), record):
            console.print(sentence, style="red", highlight=False, markup=False, soft_wrap=True)
        for table in status_tables(streams, seconds):
            console.print(table)


@app.command()
def health(
    seconds: Annotated[float, typer.Option(min=1, help="How fresh a sign of life must be.")] = 15.0,
    role: Annotated[Literal["worker", "evaluator", "trainer", "dashboard"], typer.Option(help="Whose.")] = "worker",
) -> None:
    """Exit code 0 when a role of this host has reported lately and nothing is wrong with it, else 1 and why."""
    import os

    from liveshelf.cli import health as condition
    from liveshelf.cli.dashboard import unanswered
    from liveshelf.stack_record import StackRecord
    from streams.clock import wall_ms

    with explain_errors():
        config = settings()
        if role == "dashboard":
            why = unanswered(config.dashboard)
        else:
            taken = condition.recent(reached(config, redis=False).streams(), {role})
            record = StackRecord.read_live(config.stack.folder)
            why = condition.unwell(taken, os.uname().nodename, role, wall_ms(), seconds, record)
        for sentence in why:
            typer.echo(sentence, err=True)
        raise typer.Exit(1 if why else 0)


@app.command()
def schemas(out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("docs/schemas")) -> None:
    """Write JSON Schemas and the AsyncAPI document of all topics. Example: `liveshelf schemas --out docs/schemas`"""
    from liveshelf.schemas import write

    for path in write(out):
        console.print(str(path))


@app.command("config")
def show_config(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print all settings there are instead, as docs/settings.md has them.")
    ] = False,
) -> None:
    """Print all settings in force, as TOML that liveshelf.toml takes; secrets masked."""
    if markdown:
        from liveshelf.cli.settings_reference import reference

        sys.stdout.write(reference())
        return
    with explain_errors():
        sys.stdout.write(settings().dump() + "\n")
