"""The roles of a local stack: which processes there are, and the command and the environment of each."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from evaluator.config import DashboardConfig, page_address
from liveshelf.settings import Settings
from liveshelf.stack import ports
from liveshelf.stack.role import Role
from streams.telemetry.metrics_server import metrics_address


def program(*arguments: str) -> tuple[str, ...]:
    """The command line that runs this program again, with modules from where Python has them, not from the working
    directory: a folder of models may stand there, or anything else that somebody calls like a module.

    Examples
    --------
    >>> program("worker")[1:]
    ('-P', '-m', 'liveshelf', 'worker')
    """
    return (sys.executable, "-P", "-m", "liveshelf", *arguments)


def worker_roles(count: int) -> list[Role]:
    """The worker processes of a local stack.

    Each has a name in its consumer group that survives a restart, so a crashed worker that comes back takes its
    partitions at once, instead of after the session of its predecessor has timed out.
    """
    command = program("worker")
    names = [f"worker-{number}" for number in range(1, count + 1)]
    return [Role(name, command, {"LIVESHELF_WORKER__INSTANCE": name}, lasts=True) for name in names]


def evaluator_role() -> Role:
    """The evaluator process of a local stack."""
    command = program("evaluator")
    return Role("evaluator-1", command, {"LIVESHELF_EVALUATOR__INSTANCE": "evaluator-1"}, lasts=True)


def trainer_role() -> Role:
    """The trainer process of a local stack."""
    command = program("trainer")
    return Role("trainer-1", command, {"LIVESHELF_LEARNING__INSTANCE": "trainer-1"}, lasts=True)


def dashboard_role(config: DashboardConfig) -> Role:
    """The live page of a local stack: on the port of the settings, or any free one where that is taken."""
    port = config.port if config.port and ports.is_free(config.port) else ports.several(1, 0, "", "")[0]
    command = program("dashboard")
    return Role(
        "dashboard", command, {"LIVESHELF_DASHBOARD__PORT": str(port)}, page_address(config.host, port), lasts=True
    )


def with_metrics(roles: Sequence[Role], settings: Settings) -> list[Role]:
    """The same roles, each with a port of its own where Prometheus reads its numbers.

    Raises
    ------
    StackError
        When the ports that ``stack.metrics_port`` asks for are taken.
    """
    numbers = ports.several(len(roles), settings.stack.metrics_port, "A role", "stack.metrics_port")
    return [
        replace(
            role,
            env={**role.env, "LIVESHELF_METRICS__PORT": str(port)},
            where=metrics_address(settings.metrics.host, port),
        )
        for role, port in zip(roles, numbers, strict=True)
    ]
