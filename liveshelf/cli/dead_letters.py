"""The commands ``liveshelf dead-letters …``: list records that could not be read, send them again, skip some.

Help texts and options are here; `streams.kafka.dead_letter_topic` reads and sends the letters.
"""

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from liveshelf.terminal import add_row, console, explain_errors, progress, reached, settings

letters_app = typer.Typer(
    no_args_is_help=True, help="Records that could not be read: list them, send them again, skip them."
)

Reason = Annotated[str | None, typer.Option(help="Only letters with this reason.")]


@letters_app.command("ls")
def letters_ls(
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show at most, the newest ones.")] = 50,
    since: Annotated[datetime | None, typer.Option(help="Only letters written since then, in local time.")] = None,
) -> None:
    """List the newest dead letters, the newest last. Example: `liveshelf dead-letters ls --reason malformed`"""
    from streams.kafka import dead_letter_topic

    since_ms = None if since is None else int(since.timestamp() * 1000)
    with explain_errors(), progress("reading") as step:
        config = reached(settings(), redis=False)
        found = dead_letter_topic.newest(config.kafka, config.topics, limit, reason, since_ms, step)
    table = Table("at", "reason", "from", "detail", "value")
    for letter in found.letters:
        source = letter.source
        value = (source.value or b"")[:60].decode("utf-8", "backslashreplace")
        if "value" in letter.cut:
            value += f"… {letter.cut['value'].length:,} bytes in all"
        place = f"{source.topic}[{source.partition}]@{source.offset}"
        cells = f"{letter.partition}@{letter.offset}", letter.reason, place, letter.detail, value
        add_row(table, *cells)
    console.print(table)
    of = "" if reason is None else f" refused as {reason}"
    console.print(f"The newest {len(found.letters):,}{of}, of {found.total:,} dead letters in all", markup=False)


@letters_app.command("replay")
def letters_replay(
    reason: Reason = None,
    again: Annotated[bool, typer.Option("--again", help="Also letters that were replayed before.")] = False,
) -> None:
    """Send dead letters back to their topics, once their cause is fixed.

    After an interruption it goes on where it stopped. Example: `liveshelf dead-letters replay --reason future`
    """
    from streams.kafka import dead_letter_topic

    with explain_errors(), progress("sending") as step:
        config = reached(settings(), redis=False)
        group = f"{config.worker.group}-dead-letters"
        done = dead_letter_topic.replay(config.kafka, config.topics, group, reason, again, step)
    passed = done.other + done.left.total()
    console.print(f"{done.sent:,} sent again, {passed:,} passed over")
    for why, count in done.left.items():
        console.print(f"{count:,} cannot be sent: {why}", markup=False)


@letters_app.command("skip")
def letters_skip(
    topic: Annotated[str, typer.Argument(help="The topic's full name.")],
    partition: Annotated[int, typer.Argument(min=0)],
    offset: Annotated[int, typer.Argument(min=0, help="The offset where reading stopped.")],
    to: Annotated[int | None, typer.Option(min=1, help="The offset to go on at; after the batch if not given.")] = None,
) -> None:
    """Skip records that cannot be read; what is in them goes to the dead letters.

    All processes go on within seconds. Example: `liveshelf dead-letters skip shop.events 3 812`
    """
    from streams.kafka import topics
    from streams.kafka.skip_command import skip

    with explain_errors():
        config = settings().streams()
        topics.create(config.kafka, config.topics)
        done = skip(config, topic, partition, offset, to)
    console.print(f"{done.topic}/{done.partition}: {done.first} to {done.next - 1} skipped, read on at {done.next}")
