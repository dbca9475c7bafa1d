"""The commands ``liveshelf dead-letters …``: what could not be read, and sending it again.

Words and options live here; letters are read and sent by `streams.dead_letters`.
"""

from typing import Annotated

import typer
from rich.table import Table

from liveshelf.terminal import console, settings, told

letters_app = typer.Typer(no_args_is_help=True, help="What could not be read, and sending it again.")


@letters_app.command("ls")
def letters_ls(
    reason: Annotated[str | None, typer.Option(help="Only those refused for this.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 50,
) -> None:
    """List dead letters, oldest first. Example: `liveshelf dead-letters ls --reason malformed`"""
    from streams import dead_letters

    table = Table("at", "reason", "from", "detail", "value")
    shown = 0
    with told():
        config = settings()
        for letter in dead_letters.read(config.kafka, config.topics):
            if reason is not None and letter.reason != reason:
                continue
            if shown < limit:
                source = letter.source
                value = (source.value or b"")[:60].decode("utf-8", "backslashreplace")
                place = f"{source.topic}[{source.partition}]@{source.offset}"
                table.add_row(f"{letter.partition}@{letter.offset}", letter.reason, place, letter.detail, value)
            shown += 1
    console.print(table)
    console.print(f"{shown} dead letters" + (f", the first {limit} shown" if shown > limit else ""))


@letters_app.command("replay")
def letters_replay(
    reason: Annotated[str | None, typer.Option(help="Only those refused for this.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also those replayed before.")] = False,
) -> None:
    """Send dead letters to where they came from, once their cause is mended.

    Example: `liveshelf dead-letters replay --reason future`
    """
    from streams import dead_letters

    with told():
        config = settings()
        group = f"{config.worker.group}-dead-letters"
        sent, passed = dead_letters.replay(config.kafka, config.topics, group, reason, again)
    console.print(f"{sent} sent again, {passed} passed over")
