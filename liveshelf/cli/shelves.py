"""The commands ``liveshelf get …``: shelves as a frontend reads them."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.table import Table

from liveshelf.terminal import add_row, console, explain_errors, plain, reached, settings

if TYPE_CHECKING:
    from streams.events.shelf import Shelf
    from streams.redis.client import ShelfClient

getting = typer.Typer(no_args_is_help=True, help="Read shelves as a frontend does.")


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


Json = Annotated[bool, typer.Option("--json", help="Print the shelf's JSON as it is in Redis.")]
User = Annotated[str | None, typer.Option(help="The shopper whose ranking to read.")]


Filters = Annotated[str | None, typer.Option(help="The filters of the search, as they are in the event: JSON.")]


def _object(filters: str | None) -> dict[str, Any] | None:
    try:
        return None if filters is None else msgspec.json.decode(filters, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise typer.BadParameter(f"the filters are no JSON object: {error}") from error


@getting.command("feed")
def get_feed(user: str, as_json: Json = False) -> None:
    """A shopper's feed; without one, the popular items. Example: `liveshelf get feed u1`"""
    with explain_errors():
        show(_shelf(lambda client: client.feed(user)), as_json)


@getting.command("search")
def get_search(query: str, user: User = None, filters: Filters = None, as_json: Json = False) -> None:
    """The results of a query; without any, the popular items; but none beside filters. Example: `liveshelf get search
    "hdmi cable" --user u1 --filters '{"brand": "Acme"}'`"""
    with explain_errors():
        asked = _object(filters)
        show(_shelf(lambda client: client.search(query, user, asked)), as_json)


@getting.command("page")
def get_page(filters: str, user: User = None, as_json: Json = False) -> None:
    """The page of what filters keep. Example: `liveshelf get page '{"category": "Garden > Hoses"}' --user u1`"""
    with explain_errors():
        asked = _object(filters)
        show(_shelf(lambda client: client.page(asked or {}, user)), as_json)


@getting.command("similar")
def get_similar(item: str, as_json: Json = False) -> None:
    """Items similar to one; without any, the popular items. Example: `liveshelf get similar 1234`"""
    with explain_errors():
        show(_shelf(lambda client: client.similar(item)), as_json)


@getting.command("popular")
def get_popular(segment: str = "all", as_json: Json = False) -> None:
    """The popular items. Example: `liveshelf get popular --segment Notebook`"""
    with explain_errors():
        show(_shelf(lambda client: client.popular(segment)), as_json)


def _shelf(get: "Callable[[ShelfClient], Shelf | None]") -> "Shelf | None":
    """What a frontend would get; exit code 1 and the reason if the value in Redis is no shelf."""
    from streams.events.decode import UNDECODABLE
    from streams.redis.client import ShelfClient

    try:
        return get(ShelfClient.from_url(reached(settings(), kafka=False).redis.url.get_secret_value()))
    except UNDECODABLE as error:
        console.print(plain(f"What Redis holds there is no shelf: {error}. A worker replaces it with its next one."))
        raise typer.Exit(1) from error
