"""The commands ``liveshelf topics …``: create Kafka's topics, and change them to the settings."""

from typing import Annotated

import typer
from rich.table import Table

from liveshelf.terminal import console, explain_errors, reached, settings

topics_app = typer.Typer(no_args_is_help=True, help="Kafka topics.")


@topics_app.command("create")
def topics_create() -> None:
    """Create the missing topics; existing ones are not changed."""
    from streams.kafka import topics

    with explain_errors():
        config = reached(settings(), redis=False)
        made = topics.create(config.kafka, config.topics)
    console.print("\n".join(made) if made else "All topics exist.")


@topics_app.command("apply")
def topics_apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what differs.")] = False,
    shorter: Annotated[
        bool, typer.Option("--shorter", help="Also shorten retention: Kafka deletes what is older.")
    ] = False,
    partitions: Annotated[
        bool, typer.Option("--partitions", help="Also add partitions: shoppers then change partition.")
    ] = False,
) -> None:
    """Change existing topics to the settings, as far as no data is lost.

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
    console.print(table if found else "All existing topics are as the settings say.")
