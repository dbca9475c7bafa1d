"""The commands ``liveshelf items …``: deleting items from the catalogue.

Help texts and options are here; `liveshelf.ingest.removals` finds an item's records and deletes them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from liveshelf.terminal import INTERRUPTED, console, explain_errors, plain, progress, reached, settings
from streams.events.schema import Id

items_app = typer.Typer(no_args_is_help=True, help="Items of the catalogue in Kafka.")


@items_app.command("delete")
def items_delete(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Items to delete.", show_default=False)] = None,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A file of more ids, one a line, in UTF-8.")
    ] = None,
) -> None:
    """Delete items: send a tombstone for each item on `shop.items`; they leave the shelves within seconds.

    Example: `liveshelf items delete 1234 987`
    """
    wanted = checked(ids or (), "ID") | (checked(lines(file), "--file") if file else {})
    if not wanted:
        raise typer.BadParameter("give at least one id, or a file of them", param_hint="ID")
    from liveshelf.ingest import removals

    with explain_errors():
        config = reached(settings(), redis=False)
        topic = f"{config.topics.prefix}shop.items"
        with progress(f"reading {topic}") as step:
            known = removals.item_states(config.streams(), step)
        going = {one: known[one] for one in wanted if one in known and known[one].live}
        with progress("deleting") as step:
            done = removals.delete(going, config.kafka, config.topics, step) if going else removals.Removal()
    for one in wanted:
        if one not in going:
            why = "deleted already" if one in known else f"not on {topic}"
            console.print(plain(f"{why}: {one}"), soft_wrap=True)
    for sentence in done.sentences(len(going)):
        console.print(plain(sentence), soft_wrap=True)
    raise typer.Exit(INTERRUPTED if done.interrupted else int(not (going and done.whole)))


def checked(ids: Iterable[str], option: str) -> dict[str, None]:
    """These ids, each once; BadParameter for the first that is not an item id.

    Examples
    --------
    >>> list(checked(["b", "a", "b"], "ID"))
    ['b', 'a']
    """
    found = dict[str, None]()
    for one in ids:
        try:
            one.encode()
            found[msgspec.convert(one, Id)] = None
        except (UnicodeEncodeError, msgspec.ValidationError):
            quoted = repr(one if len(one) <= 60 else one[:60] + "…")
            raise typer.BadParameter(
                f"{quoted} is no item id: that is 1 to 256 characters, none of them a control character",
                param_hint=option,
            ) from None
    return found


def lines(file: Path) -> list[str]:
    """The ids in a file; blank lines are skipped."""
    try:
        text = file.read_text("utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise typer.BadParameter(f"{file} cannot be read as text: {error}", param_hint="--file") from None
    return [line for line in text.split("\n") if line.strip()]
