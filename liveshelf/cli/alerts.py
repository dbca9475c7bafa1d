"""The commands ``liveshelf alerts …``: which alerts fire now, and which ended last.

Help texts and options are here; `evaluator.monitoring.alerts.topic` reads the alerts.
"""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

alerts_app = typer.Typer(no_args_is_help=True, help="Alerts: which fire now, and which ended last.")


@alerts_app.command("ls")
def alerts_ls(
    ended: Annotated[int, typer.Option(min=0, help="How many ended alerts to show, the latest ones.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with all fields.")] = False,
) -> None:
    """List the alerts that fire now, then those that ended last. Example: `liveshelf alerts ls --ended 20`"""
    import msgspec
    from rich.table import Table

    from evaluator.monitoring.alerts.alert import AlertsView
    from evaluator.monitoring.alerts.alertmanager import evidence
    from evaluator.monitoring.alerts.topic import read
    from liveshelf.terminal import add_row, console, explain_errors, reached, settings
    from streams.clock import wall_ms

    view = AlertsView(ended)
    with explain_errors():
        config = reached(settings(), redis=False)
        for one in read(config.kafka, config.topics):
            view.update(*one)
    firing, over = view.get(wall_ms()), view.ended()[::-1]
    if as_json:
        sys.stdout.write(msgspec.json.encode({"firing": firing, "ended": over}).decode() + "\n")
        return
    table = Table("state", "alert", "about", "since", "until", "summary", "evidence")
    for alert in (*firing, *over):
        about = ", ".join(f"{name} {value}" for name, value in sorted(alert.labels.items()) if value)
        until = "" if alert.until is None else _moment(alert.until)
        add_row(table, alert.state, alert.name, about, _moment(alert.since), until, alert.summary, evidence(alert))
    console.print(table if firing or over else "No alert fires, and none has ended recently.")
    if firing:
        console.print(f"{len(firing)} firing")


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
