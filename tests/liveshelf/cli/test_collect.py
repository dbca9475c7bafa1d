"""The collector as a role of the local stack, and whether one takes records."""

from liveshelf.cli.collect import refused
from liveshelf.collect.config import CollectConfig
from liveshelf.stack import ports
from liveshelf.stack.roles import collector_role


def test_the_role_takes_the_port_that_is_set_while_it_is_free() -> None:
    [free] = ports.several(1, 0, "", "")
    role = collector_role(CollectConfig(port=free))
    assert role.env == {"LIVESHELF_COLLECT__PORT": str(free)} and role.where == f"http://127.0.0.1:{free}"
    assert role.argv[-1] == "collect" and role.lasts


def test_nothing_answers_where_nothing_is() -> None:
    [free] = ports.several(1, 0, "", "")
    [why] = refused(CollectConfig(port=free))
    assert f"The collector at http://127.0.0.1:{free} does not answer" in why
