"""The command line: all commands, and those without a module of their own.

Only help texts and options are here; the work is in the modules that a command imports when it is called.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from liveshelf.cli.alerts import alerts_app
from liveshelf.cli.collect import collect
from liveshelf.cli.dashboard import dashboard
from liveshelf.cli.dead_letters import letters_app
from liveshelf.cli.evaluate import evaluate
from liveshelf.cli.forget import forget
from liveshelf.cli.ingest import importing, replay
from liveshelf.cli.items import items_app
from liveshelf.cli.models import models_app
from liveshelf.cli.ope import ope
from liveshelf.cli.prepare import prepare
from liveshelf.cli.roles import demo, evaluator, repartition, trainer, up, worker
from liveshelf.cli.shelves import getting
from liveshelf.cli.topics import topics_app
from liveshelf.cli.train import train
from liveshelf.terminal import console, explain_errors, reached, settings
from streams.telemetry import logs

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Streaming real-time recommendations: shop events from Kafka in, shelves ranked by BERT out to Redis.",
    epilog="Start with **liveshelf demo**, or **liveshelf up** and then **liveshelf import items FILE**.",
    pretty_exceptions_enable=False,
)
app.add_typer(importing, name="import")
app.add_typer(getting, name="get")
app.add_typer(items_app, name="items")
app.add_typer(letters_app, name="dead-letters")
app.add_typer(topics_app, name="topics")
app.add_typer(models_app, name="models")
app.add_typer(alerts_app, name="alerts")
for role in (up, demo, worker, evaluator, trainer, collect, dashboard):
    app.command()(role)
for command in (replay, repartition, train, prepare, evaluate, ope, forget):
    app.command()(command)


def main() -> None:
    """Entry point of the ``liveshelf`` program."""
    logs.set_up()
    app()


@app.command()
def status(seconds: Annotated[float, typer.Option(min=1, help="How many seconds to look back.")] = 10.0) -> None:
    """Show what the workers did recently, how fast, and what Redis holds. Example: `liveshelf status --seconds 60`"""
    from liveshelf.cli import health as checks
    from liveshelf.cli.status import status_tables
    from liveshelf.stack_record import StackRecord
    from streams.clock import wall_ms

    with explain_errors():
        config = settings()
        record = StackRecord.read_live(config.stack.folder)
        if record is not None:
            console.print(checks.processes(record))
        streams = reached(config).streams()
        for sentence in checks.wrong(checks.recent(streams), wall_ms(), record):
            console.print(sentence, style="red", highlight=False, markup=False, soft_wrap=True)
        for table in status_tables(streams, seconds):
            console.print(table)


@app.command()
def health(
    seconds: Annotated[float, typer.Option(min=1, help="How old the last report may be, in seconds.")] = 15.0,
    role: Annotated[
        Literal["worker", "evaluator", "trainer", "collector", "dashboard"], typer.Option(help="The role to check.")
    ] = "worker",
) -> None:
    """Exit with 0 if a role of this host has reported recently and nothing is wrong with it, else with 1 and why."""
    import os

    from liveshelf.cli import health as checks
    from liveshelf.cli.collect import refused
    from liveshelf.cli.dashboard import unanswered
    from liveshelf.stack_record import StackRecord
    from streams.clock import wall_ms

    with explain_errors():
        config = settings()
        if role == "dashboard":
            why = unanswered(config.dashboard)
        elif role == "collector":
            why = refused(config.collect)
        else:
            taken = checks.recent(reached(config, redis=False).streams(), {role})
            record = StackRecord.read_live(config.stack.folder)
            why = checks.unwell(taken, os.uname().nodename, role, wall_ms(), seconds, record)
        for sentence in why:
            typer.echo(sentence, err=True)
        raise typer.Exit(1 if why else 0)


@app.command()
def schemas(out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("docs/schemas")) -> None:
    """Write JSON Schemas and the AsyncAPI document of all topics. Example: `liveshelf schemas --out docs/schemas`"""
    from liveshelf.schemas import write

    for path in write(out):
        console.print(str(path))


@app.command("config")
def show_config(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the reference of all settings instead, as in docs/settings.md.")
    ] = False,
    gate: Annotated[
        bool,
        typer.Option("--gate", help="Print the thresholds of the trainer's gate instead, for `evaluate --gate`."),
    ] = False,
) -> None:
    """Print all settings in force as TOML, as in liveshelf.toml; secrets are masked."""
    if markdown:
        from liveshelf.cli.settings_reference import reference

        sys.stdout.write(reference())
        return
    with explain_errors():
        sys.stdout.write(settings().gate.thresholds.toml() if gate else settings().dump() + "\n")
