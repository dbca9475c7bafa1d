"""The dashboard as a role of the local stack, and whether one answers."""

import socket

import pytest

from evaluator.config import DashboardConfig
from liveshelf.cli.dashboard import unanswered
from liveshelf.stack import ports
from liveshelf.stack.roles import dashboard_role

pytestmark = pytest.mark.usefixtures("no_settings")


def test_the_role_takes_the_port_that_is_set_while_it_is_free() -> None:
    [free] = ports.several(1, 0, "", "")
    role = dashboard_role(DashboardConfig(port=free))
    assert role.env == {"LIVESHELF_DASHBOARD__PORT": str(free)} and role.where == f"http://127.0.0.1:{free}"


def test_the_role_takes_another_port_where_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        role = dashboard_role(DashboardConfig(port=number))
    assert role.env["LIVESHELF_DASHBOARD__PORT"] not in {"0", str(number)}
    assert role.where.endswith(role.env["LIVESHELF_DASHBOARD__PORT"])


def test_nothing_answers_where_nothing_is() -> None:
    [free] = ports.several(1, 0, "", "")
    [why] = unanswered(DashboardConfig(port=free))
    assert f"The dashboard at http://127.0.0.1:{free} does not answer" in why
