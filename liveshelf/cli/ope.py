"""The command ``liveshelf ope``: help texts and options; `liveshelf.off_policy` does the work."""

from pathlib import Path
from typing import Annotated

import typer

from liveshelf.cli.options import pairs

Log = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Logged decisions with propensities.")]


def ope(
    log: Log,
    policy: Annotated[
        Path,
        typer.Option(exists=True, dir_okay=False, help="Logged decisions of the policy to estimate."),
    ],
    fields: Annotated[
        list[str] | None,
        typer.Option("--map", help="FIELD=COLUMN: action, place, reward, propensity; repeatable."),
    ] = None,
    clip: Annotated[float, typer.Option(min=1, help="Largest importance weight.")] = 100.0,
    draws: Annotated[int, typer.Option(min=100, help="Bootstrap draws.")] = 2_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate what another policy would have earned, from the logs of one that explored.

    IPS, SNIPS and doubly robust estimates with bootstrap intervals. Files are CSV or JSON lines, plain, .gz or .xz.

    Example: `liveshelf ope random.csv.xz --policy bts.csv.xz --map action=item_id --map place=position
    --map reward=click --map propensity=propensity_score`
    """
    from dataclasses import asdict

    from liveshelf.off_policy import FIELDS, answer, read
    from liveshelf.terminal import console, explain_errors

    names = pairs(fields, "--map")
    if unknown := sorted(set(names) - set(FIELDS)):
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(FIELDS)}", param_hint="--map")
    with explain_errors():
        found = answer(read(log, names), read(policy, names), clip=clip, draws=draws)
    if as_json:
        import msgspec

        estimates = {name: one._asdict() for name, one in found.estimates.items()}
        typer.echo(msgspec.json.encode(asdict(found) | {"estimates": estimates}))
        return
    console.print(found.table())
