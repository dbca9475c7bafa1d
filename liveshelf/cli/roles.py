"""The commands that run until they are stopped: a local stack, the demo, and each role by itself."""

from pathlib import Path
from typing import Annotated

import typer

from liveshelf.terminal import console, explain_errors, reached, reached_by_role, require, settings
from streams.config import KafkaConfig


def up(
    workers: Annotated[int | None, typer.Option(min=1, help="The number of worker processes.")] = None,
    folder: Annotated[Path | None, typer.Option(help="The folder for data and logs.")] = None,
) -> None:
    """Start Kafka, Redis and all roles on this machine: workers, evaluator, trainer, collector, dashboard.

    Ctrl-C stops them all.

    With KAFKA_BOOTSTRAP_SERVERS or REDIS_URL set, those are used instead. Example: `liveshelf up --workers 2`
    """
    stack = {name: value for name, value in (("workers", workers), ("folder", folder)) if value is not None}
    with explain_errors():
        config = settings(**({"stack": stack} if stack else {}))
        require("train", *(() if config.own_kafka() and config.own_redis() else ("local",)))
        from liveshelf.stack import roles as stack_roles
        from liveshelf.stack.supervisor import run_stack

        measured = [
            *stack_roles.worker_roles(config.stack.workers),
            stack_roles.evaluator_role(),
            stack_roles.trainer_role(),
        ]
        pages = stack_roles.collector_role(config.collect), stack_roles.dashboard_role(config.dashboard)
        roles = [*stack_roles.with_metrics(measured, config), *pages]
        raise typer.Exit(run_stack(config, roles, console=console))


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the shop running until Ctrl-C.")] = False,
    seed: Annotated[int, typer.Option(help="The seed of the catalogue and the simulated shoppers.")] = 1,
    out: Annotated[Path, typer.Option(help="The file for the picture of the run.")] = Path("liveshelf-demo.png"),
) -> None:
    """Run the demo: a shop opens, learns, suffers a drift, recovers, and rolls a bad model back.

    It runs its own local stack with a catalogue and simulated shoppers, for about five minutes.

    Example: `liveshelf demo --keep`
    """
    with explain_errors():
        require("local", "train")
        from liveshelf.demo.story import run_story

        raise typer.Exit(run_story(settings(), seed=seed, keep=keep, out=out, console=console))


def worker() -> None:
    """Answer events with shelves until stopped. Several workers share the partitions.

    Example: `KAFKA_BOOTSTRAP_SERVERS=broker:9092 REDIS_URL=redis://cache/0 liveshelf worker`
    """
    with explain_errors():
        config = reached_by_role(settings()).streams()
        _require_registry(config.kafka)
        from streams import reporting
        from streams.kafka import topics

        topics.create(config.kafka, config.topics)
        reporting.announce(config, "worker", config.worker.instance)
        from streams.worker import Worker  # after the servers have answered: models take seconds to load

        raise typer.Exit(Worker(config).run())


def repartition(
    source: Annotated[str, typer.Argument(help="The topic whose events are sent on.")],
    group: Annotated[str | None, typer.Option(help="The consumer group; by default one of this topic's own.")] = None,
) -> None:
    """Send another topic's events on to shop.events, each under its shopper's key, until stopped.

    For producers whose keys are missing or are not their shoppers' ids, and cannot be changed. Several of them share
    the topic's partitions. Example: `liveshelf repartition shop.clickstream`
    """
    with explain_errors():
        config = reached(settings(), redis=False).streams()
        _require_registry(config.kafka)
        from streams.config import RoleConfig
        from streams.kafka import topics
        from streams.repartition import Repartition

        role = RoleConfig(group=group or f"{config.topics.prefix}liveshelf-repartition-{source}")
        sending = Repartition(config, source, role)
        topics.create(config.kafka, config.topics)
        raise typer.Exit(sending.run())


def evaluator() -> None:
    """Join impressions with their outcomes until stopped: click rates, and labelled examples for training.

    Example: `KAFKA_BOOTSTRAP_SERVERS=broker:9092 REDIS_URL=redis://cache/0 liveshelf evaluator`
    """
    with explain_errors():
        config = reached_by_role(settings())
        _require_registry(config.kafka)
        from streams import reporting
        from streams.kafka import topics

        topics.create(config.kafka, config.topics)
        reporting.announce(config.streams(), "evaluator", config.evaluator.instance)
        from evaluator.process import Evaluator

        raise typer.Exit(Evaluator(config.streams(), config.evaluator, config.alerts).run())


def trainer(
    job: Annotated[
        bool,
        typer.Option("--job", hidden=True, help="Carry out the training run whose folder is given on standard input."),
    ] = False,
) -> None:
    """Learn from labelled examples until stopped: triggers, training, the gate, and the rollout of models that pass.

    Example: `KAFKA_BOOTSTRAP_SERVERS=broker:9092 REDIS_URL=redis://cache/0 liveshelf trainer`
    """
    with explain_errors():
        require("train")
        from evaluator.retraining import run

        config = settings()
        if job:
            run.set_up(config.learning.niceness)
            from evaluator.retraining.job import work

            folder = run.given_folder()
            raise typer.Exit(work(folder, config.loop(), run.report) if folder else 0)
        reached_by_role(config)
        from streams import reporting
        from streams.kafka import topics

        topics.create(config.kafka, config.topics)
        reporting.announce(config.streams(), "trainer", config.learning.instance)
        from evaluator.retraining.trainer import Trainer
        from liveshelf.stack.roles import program

        raise typer.Exit(Trainer(config.loop(), program("trainer", "--job")).run())


def _require_registry(kafka: KafkaConfig) -> None:
    """Check that the libraries for a schema registry are installed, where there is one."""
    if kafka.schema_registry_url is not None:
        require("registry")
