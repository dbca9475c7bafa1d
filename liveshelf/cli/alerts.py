"""The commands ``liveshelf alerts …``: what fires now, and what ended last.

Words and options live here; the alerts are read by `evaluator.monitoring.alerts.topic`.
"""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

alerts_app = typer.Typer(no_args_is_help=True, help="Alerts: what fires now, and what ended last.")


@alerts_app.command("ls")
def alerts_ls(
    ended: Annotated[int, typer.Option(min=0, help="Show so many that ended, the last ones.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, everything that is known.")] = False,
) -> None:
    """List what fires now, then what ended last. Example: `liveshelf alerts ls --ended 20`"""
    import msgspec
    from rich.table import Table

    from evaluator.monitoring.alerts.alert import AlertsView
    from evaluator.monitoring.alerts.alertmanager import evidence
    from evaluator.monitoring.alerts.topic import read
    from liveshelf.terminal import add_row, console, explain_errors, reached, settings
    from streams.clock import wall_ms

    standing = AlertsView(ended)
    with explain_errors():
        config = reached(settings(), redis=False)
        for one in read(config.kafka, config.topics):
            standing.update(*one)
    firing, over = standing.get(wall_ms()), standing.ended()[::-1]
    if as_json:
        sys.stdout.write(msgspec.json.encode({"firing": firing, "ended": over}).decode() + "\n")
        return
    table = Table("state", "alert", "about", "since", "until", "summary", "evidence")
    for alert in (*firing, *over):
        about = ", ".join(f"{name} {value}" for name, value in sorted(alert.labels.items()) if value)
        until = "" if alert.until is None else _moment(alert.until)
        add_row(table, alert.state, alert.name, about, _moment(alert.since), until, alert.summary, evidence(alert))
    console.print(table if firing or over else "No alert fires, and none has ended lately.")
    if firing:
        console.print(f"{len(firing)} firing")


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
