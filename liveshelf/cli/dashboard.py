"""The command ``liveshelf dashboard``: the live page until it is stopped; and the health check of the page."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from liveshelf.terminal import console, explain_errors, reached_by_role, settings

if TYPE_CHECKING:
    from evaluator.config import DashboardConfig

METRICS_MISSED = 5
"""A process that misses this many reports counts as silent, at the earliest after fifteen seconds."""


def dashboard(
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port to listen on; 0 takes any free one.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; any but the loopback address needs a token.")
    ] = None,
) -> None:
    """Serve the live page: click rates, drift, latency, models, alerts, and any shelf.

    Example: `liveshelf dashboard --port 8080`. To serve other machines:
    `LIVESHELF_DASHBOARD__TOKEN=... liveshelf dashboard --host 0.0.0.0`, then open it once with `?token=...`
    """
    from evaluator.config import page_address
    from evaluator.dashboard import server
    from liveshelf.settings import BadSettingsError
    from streams.runtime.http_server import listen

    given: dict[str, Any] = {name: value for name, value in (("port", port), ("host", host)) if value is not None}
    with explain_errors():
        config = reached_by_role(settings(**({"dashboard": given} if given else {})), kafka_wait_s=0)
        at = config.dashboard
        try:
            listening = listen(at.host, at.port)
        except OSError as error:
            raise BadSettingsError(
                f"The dashboard cannot listen on {at.host}:{at.port}: {error.strerror or error}. "
                "Choose another port with --port or LIVESHELF_DASHBOARD__PORT (0 takes any free one)."
            ) from error
        token = " (with ?token=... once)" if at.token else ""
        where = page_address(at.host, listening.getsockname()[1])
        every_s = max(config.worker.metrics_every_s, config.evaluator.metrics_every_s)
        server.serve(
            config.streams(),
            at,
            listening,
            quiet_s=max(15.0, METRICS_MISSED * every_s),
            closes_after_s=config.evaluator.window_s + config.evaluator.grace_s,
            ready=lambda: console.print(f"dashboard at {where}{token}", highlight=False, soft_wrap=True),
        )


def unanswered(config: "DashboardConfig") -> list[str]:
    """What is wrong with the dashboard of these settings on this machine, in sentences; empty if nothing is."""
    import httpx

    from evaluator.config import page_address

    headers = {"Authorization": f"Bearer {config.token.get_secret_value()}"} if config.token else {}
    where = page_address(config.host, config.port)
    try:
        answer = httpx.get(f"{where}/healthz", headers=headers, timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return [f"The dashboard at {where} does not answer: {error}."]
    return (
        [] if answer.is_success else [f"The dashboard at {where} is not well: {answer.status_code} {answer.text[:500]}"]
    )
