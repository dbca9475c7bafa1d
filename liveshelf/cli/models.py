"""The commands ``liveshelf models …``: list model versions, and choose the champion and the challenger.

Help texts and options are here. `liveshelf.cli.model_tables` formats versions, `models.store` does the work, and
`streams.serving.announcement` notifies the workers.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

if TYPE_CHECKING:
    from models.store import Manifest, ModelStore
    from models.store.slots import Slot

models_app = typer.Typer(
    no_args_is_help=True, help="Model versions: list them, and choose the champion and the challenger."
)

Version = Annotated[str, typer.Argument(metavar="ID", help="An id, its first characters, or champion.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON with all fields.")]
Reason = Annotated[str, typer.Option(help="The reason; stored with the slot.")]


@models_app.command("ls")
def models_ls(
    metric: Annotated[list[str] | None, typer.Option(help="A metric to show; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """List versions, newest first. Example: `liveshelf models ls --metric ndcg@10`"""
    from liveshelf.cli import model_tables
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
    """Show all that is known about a version. Example: `liveshelf models show champion`"""
    from liveshelf.cli import model_tables

    with _store() as store:
        found = store.manifest(store.find(version))
        slots = _slots(store)
    if as_json:
        _write(model_tables.as_json(model_tables.record(found, slots)))
    else:
        _print(*model_tables.page(found, slots))


@models_app.command("history")
def models_history(as_json: Json = False) -> None:
    """Show the canaries that have ended, and how well each offline measure predicted their results.

    Example: `liveshelf models history`
    """
    import msgspec

    from evaluator.offline.agreement import agreements
    from liveshelf.cli import model_tables

    with _store() as store:
        found, broken = store.experiments.get()
    agreed = agreements(found)
    if as_json:
        claims = [msgspec.to_builtins(one) | {"claim": one.claim} for one in agreed]
        _write(model_tables.as_json({"experiments": found, "agreements": claims}))
    else:
        _print(*model_tables.experiments(found, agreed))
    if broken:
        sys.stderr.write("\n".join(broken) + "\n")
        raise typer.Exit(1)


@models_app.command("diff")
def models_diff(
    a: Annotated[str, typer.Argument(metavar="A", help="An id, its first characters, or champion.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one, given in the same ways.")],
    as_json: Json = False,
) -> None:
    """Show what differs between two versions. Example: `liveshelf models diff champion 20261124-1530`"""
    from liveshelf.cli import model_tables
    from models.store.difference import diff

    with _store() as store:
        found = diff(store.manifest(store.find(a)), store.manifest(store.find(b)))
    if as_json:
        _write(model_tables.as_json(found))
    else:
        _print(*model_tables.comparison(found))


@models_app.command("promote")
def models_promote(version: Version, reason: Reason = "by hand") -> None:
    """Make a version the champion, if it passes the check.

    Example: `liveshelf models promote 20261124-1530`
    """
    from models.store.slots import CHALLENGER, CHAMPION

    with _store() as store:
        slot = store.slots.promote(_examined(store, version), reason)
        changed = {CHAMPION: slot}
        challenger = store.slots.read(CHALLENGER).current
        if challenger is not None and slot.current is not None and challenger.version == slot.current.version:
            changed[CHALLENGER] = store.slots.clear(CHALLENGER, f"promoted: {reason}")
    before = f"before: {slot.history[-1].version}" if slot.history else "the first"
    _print(f"champion: {slot.current.version if slot.current else '-'} ({before})")
    _announce(changed)


@models_app.command("rollback")
def models_rollback(reason: Reason = "by hand") -> None:
    """Make the previous champion the champion again; before the first one, the untrained weights of the settings.

    Example: `liveshelf models rollback --reason "clicks fell"`
    """
    from models.store.slots import CHAMPION

    with _store() as store:
        slot = store.slots.rollback(reason)
    champion = f"{slot.current.version} ({slot.current.reason})" if slot.current else f"none ({slot.emptied})"
    _print(f"champion: {champion}")
    _announce({CHAMPION: slot})


@models_app.command("canary")
def models_canary(
    version: Version,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the shoppers; with 0 it runs in shadow and nobody sees it.")
    ] = 0.1,
    reason: Reason = "by hand",
) -> None:
    """Make a version the challenger, if it passes the check.

    Example: `liveshelf models canary 20261124-1530 --share 0.1`
    """
    from models.store import StoreError
    from models.store.slots import CHALLENGER, CHAMPION

    with _store() as store:
        found = store.find(version)
        champion = store.slots.read(CHAMPION).current
        if champion is not None and champion.version == found:
            raise StoreError(f"{found} is the champion: it cannot challenge itself.")
        slot = store.slots.promote(_examined(store, found), reason, CHALLENGER, share)
    _print(f"challenger: {found}, {'a shadow' if share == 0 else f'for {100 * share:.3g} % of the shoppers'}")
    _announce({CHALLENGER: slot})


@models_app.command("stop")
def models_stop(reason: Reason = "by hand") -> None:
    """End the canary or shadow. Example: `liveshelf models stop --reason "clicks fell"`"""
    from models.store.slots import CHALLENGER

    with _store() as store:
        before = store.slots.read(CHALLENGER).current
        slot = store.slots.clear(CHALLENGER, reason)
    _print(f"challenger: none ({'there was none' if before is None else f'before: {before.version}'})")
    _announce({CHALLENGER: slot})


@models_app.command("gc")
def models_gc(
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest versions to keep.")] = 10,
    history: Annotated[int, typer.Option(min=0, help="How many earlier champions to keep.")] = 3,
    grace_hours: Annotated[float, typer.Option(min=0, help="Keep unfinished versions younger than this.")] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
) -> None:
    """Remove versions that are no longer needed, and unfinished ones of writers that died.

    It keeps the champion and its predecessors, the challenger, the versions that the settings name, and every version
    whose encoder a kept one uses. Example:
    `liveshelf models gc --keep 5 --dry-run`
    """
    from liveshelf.cli import model_tables
    from models.store.clearing import clear

    with _store() as store:
        cleared = clear(
            store, keep=keep, history=history, grace_s=grace_hours * 3_600, pinned=_named(store), dry_run=dry_run
        )
    _print(*(f"version {version}" for version in cleared.versions))
    _print(*(f"unfinished {path}" for path in cleared.leftovers))
    total = f"{len(cleared.versions)} versions, {len(cleared.leftovers)} unfinished"
    _print(f"{total}: {model_tables.size(cleared.bytes)} {'would be freed' if dry_run else 'freed'}")


@contextmanager
def _store() -> Iterator["ModelStore"]:
    """The store of the settings; errors that the user can fix are shown as by every other command."""
    from liveshelf.terminal import explain_errors, settings
    from models.store import ModelStore, StoreError

    with explain_errors():
        url = settings().model.store
        try:
            yield ModelStore(url)
        except OSError as error:
            raise StoreError(f"The model store {url} does not answer as it should: {error}.") from error


def _examined(store: "ModelStore", name: str) -> str:
    """The id of a version that has passed the check which workers make."""
    from liveshelf.terminal import settings
    from models.store.slots import CHAMPION
    from streams.serving.loaded_model import examine

    version, champion = store.find(name), store.slots.read(CHAMPION).current
    examine(version, settings().model, champion.version if champion is not None else None)
    return version


def _slots(store: "ModelStore") -> dict[str, dict[str, float]]:
    """The slots of each version, and its share in them."""
    found: dict[str, dict[str, float]] = {}
    for name in store.slots.names():
        current = store.slots.read(name).current
        if current is not None:
            found.setdefault(current.version, {})[name] = current.share
    return found


def _named(store: "ModelStore") -> set[str]:
    """The versions that the settings name."""
    from liveshelf.terminal import settings
    from models.store.errors import StoreError

    found = set()
    for name in (settings().model.version, settings().model.holdback_version):
        with suppress(StoreError):  # a slot that is still empty, a version that was removed
            found.add(store.find(name or ""))
    return found


def _announce(slots: "Mapping[str, Slot]") -> None:
    """Notify the workers; without this they see the change a little later."""
    from liveshelf.terminal import reached, settings
    from streams.connectivity import UnreachableError
    from streams.kafka.errors import KAFKA_ERRORS
    from streams.serving.announcement import announce_now

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # errors are printed below, in one line
    config = settings()
    later = f"Workers look at the store every {config.model.watch_s:g} s."
    try:
        reached(config, redis=False)
        for name, slot in slots.items():
            announce_now(config.kafka, config.topics, name, slot)
    except UnreachableError as error:
        _print(f"{error} {later}")
    except KAFKA_ERRORS as error:
        _print(f"Kafka does not answer as it should at {config.kafka.bootstrap_servers}: {error}. {later}")


def _print(*what: RenderableType) -> None:
    from liveshelf.terminal import console

    for one in what:
        console.print(one, highlight=False, markup=False)


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
