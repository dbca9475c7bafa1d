"""The command ``liveshelf collect``: events and items over HTTP to Kafka until it is stopped; and its health check."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from liveshelf.terminal import console, explain_errors, reached_by_role, settings

if TYPE_CHECKING:
    from liveshelf.collect.config import CollectConfig


def collect(
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port to listen on; 0 takes any free one.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; any but the loopback address needs a write key.")
    ] = None,
) -> None:
    """Take events and items over HTTP, and serve shelves, for those who reach neither Kafka nor Redis.

    Example: `liveshelf collect --port 8770`, then
    `curl 127.0.0.1:8770/events -d '{"type": "read", "event_id": "1", "ts": 1767225600000, "user_id": "u1",
    "item_id": "1234"}'`. To serve other machines:
    `LIVESHELF_COLLECT__WRITE_KEY=... liveshelf collect --host 0.0.0.0`
    """
    from evaluator.config import page_address
    from liveshelf.collect import server
    from liveshelf.settings import BadSettingsError
    from streams.runtime.http_server import listen

    given: dict[str, Any] = {name: value for name, value in (("port", port), ("host", host)) if value is not None}
    with explain_errors():
        config = reached_by_role(settings(**({"collect": given} if given else {})), kafka_wait_s=0)
        at = config.collect
        try:
            listening = listen(at.host, at.port)
        except OSError as error:
            raise BadSettingsError(
                f"The collector cannot listen on {at.host}:{at.port}: {error.strerror or error}. "
                "Choose another port with --port or LIVESHELF_COLLECT__PORT (0 takes any free one)."
            ) from error
        where = page_address(at.host, listening.getsockname()[1])
        server.serve(
            config.streams(),
            at,
            listening,
            ready=lambda: console.print(f"collector at {where}", highlight=False, soft_wrap=True),
        )


def refused(config: "CollectConfig") -> list[str]:
    """What is wrong with the collector of these settings on this machine, in sentences; empty if nothing is."""
    import httpx

    from evaluator.config import page_address

    where = page_address(config.host, config.port)
    try:
        answer = httpx.get(f"{where}/healthz", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return [f"The collector at {where} does not answer: {error}."]
    return (
        []
        if answer.is_success
        else [f"The collector at {where} takes nothing: {answer.status_code} {answer.text[:500]}"]
    )
