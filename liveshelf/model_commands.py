"""The commands ``liveshelf models …``: what versions there are, which is in charge, and changing that.

Words, options and where the store is live here; how versions are shown is `liveshelf.model_tables`, the work is the
store's.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

if TYPE_CHECKING:
    from models.store import Manifest, Store

models_app = typer.Typer(no_args_is_help=True, help="Versions of models: which there are, and which is in charge.")

Version = Annotated[str, typer.Argument(metavar="ID", help="An id, the beginning of one, or champion.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, everything that is known.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the slot.")]


@models_app.command("ls")
def models_ls(
    metric: Annotated[list[str] | None, typer.Option(help="A metric to show; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """List versions, newest first. Example: `liveshelf models ls --metric ndcg@10`"""
    from liveshelf import model_tables
    from models.store import StoreError

    found: list[Manifest] = []
    broken: list[str] = []
    with _store() as store:
        for version in store.ids():
            try:
                found.append(store.manifest(version))
            except StoreError as error:
                broken.append(str(error))
        slots = _slots(store)
    found.sort(key=lambda one: (one.created_at, one.id), reverse=True)
    if as_json:
        _write(model_tables.as_json([model_tables.record(one, slots) for one in found]))
    elif found or not broken:
        _print(model_tables.listing(found, slots, metric))
    if broken:
        sys.stderr.write("\n".join(broken) + "\n")
        raise typer.Exit(1)


@models_app.command("show")
def models_show(version: Version, as_json: Json = False) -> None:
    """Show all that is known of a version. Example: `liveshelf models show champion`"""
    from liveshelf import model_tables

    with _store() as store:
        found = store.manifest(store.find(version))
        slots = _slots(store)
    if as_json:
        _write(model_tables.as_json(model_tables.record(found, slots)))
    else:
        _print(*model_tables.page(found, slots))


@models_app.command("diff")
def models_diff(
    a: Annotated[str, typer.Argument(metavar="A", help="An id, the beginning of one, or champion.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    as_json: Json = False,
) -> None:
    """Show what differs between two versions. Example: `liveshelf models diff champion 20261124-1530`"""
    from liveshelf import model_tables
    from models.store.difference import diff

    with _store() as store:
        found = diff(store.manifest(store.find(a)), store.manifest(store.find(b)))
    if as_json:
        _write(model_tables.as_json(found))
    else:
        _print(*model_tables.comparison(found))


@models_app.command("promote")
def models_promote(version: Version, reason: Reason = "by hand") -> None:
    """Make a version the champion. Example: `liveshelf models promote 20261124-1530 --reason "better nDCG"`"""
    with _store() as store:
        slot = store.slots.promote(store.find(version), reason)
    before = f"before: {slot.history[-1].version}" if slot.history else "the first"
    _print(f"champion: {slot.current.version if slot.current else '-'} ({before})")


@models_app.command("rollback")
def models_rollback(reason: Reason = "by hand") -> None:
    """Put back the version before the champion. Example: `liveshelf models rollback --reason "clicks fell"`"""
    with _store() as store:
        slot = store.slots.rollback(reason)
    if slot.current is not None:
        _print(f"champion: {slot.current.version} ({slot.current.reason})")


@models_app.command("gc")
def models_gc(
    keep: Annotated[int, typer.Option(min=0, help="Keep so many of the newest versions.")] = 10,
    history: Annotated[int, typer.Option(min=0, help="Keep so many versions that were champion before.")] = 3,
    grace_hours: Annotated[float, typer.Option(min=0, help="Leave unfinished versions younger than this.")] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove versions that nobody needs, and what writers that died have left.

    The champion, those before it, and every version whose encoder a kept one uses stay. Example:
    `liveshelf models gc --keep 5 --dry-run`
    """
    from liveshelf import model_tables
    from models.store.clearing import clear

    with _store() as store:
        cleared = clear(store, keep=keep, history=history, grace_s=grace_hours * 3_600, dry_run=dry_run)
    _print(*(f"version {version}" for version in cleared.versions))
    _print(*(f"unfinished {path}" for path in cleared.leftovers))
    total = f"{len(cleared.versions)} versions, {len(cleared.leftovers)} unfinished"
    _print(f"{total}: {model_tables.size(cleared.bytes)} {'would be freed' if dry_run else 'freed'}")


@contextmanager
def _store() -> Iterator["Store"]:
    """The store of the settings; what a person can mend is told as by every other command."""
    from liveshelf.terminal import settings, told
    from models.store import Store, StoreError

    with told():
        url = settings().model.store
        try:
            yield Store(url)
        except OSError as error:
            raise StoreError(f"The model store {url} does not answer as it should: {error}.") from error


def _slots(store: "Store") -> dict[str, list[str]]:
    """The slots that each version is in."""
    found: dict[str, list[str]] = {}
    for name in store.slots.names():
        current = store.slots.read(name).current
        if current is not None:
            found.setdefault(current.version, []).append(name)
    return found


def _print(*what: RenderableType) -> None:
    from liveshelf.terminal import console

    for one in what:
        console.print(one, highlight=False, markup=False)


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
