"""Settings of alerts and metrics: what is missing is told, what is secret is not, and every role gets a port."""

import pytest

from liveshelf.settings import BadSettingsError, load
from liveshelf.stack.ports import several
from liveshelf.stack.roles import evaluator_role, with_metrics, worker_roles
from liveshelf.stack_record import StackError

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"WEBHOOK_URL": "http://x/"}, "set LIVESHELF_ALERTS__WEBHOOK_SECRET"),
        ({"WEBHOOK_URL": "http://x/", "WEBHOOK_SECRET": "short"}, "at least 16"),
        ({"WEBHOOK_URL": "http://x/", "WEBHOOK_SECRET": "whsec_no base64 at all"}, "goes on in base64"),
        ({"WEBHOOK_URL": "x/", "WEBHOOK_SECRET": "a secret of 16 letters"}, "valid URL"),
        ({"ALERTMANAGER_URL": "ftp://x/"}, "scheme should be"),
    ],
)
def test_alerts_say_what_is_missing(env: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in env.items():
        monkeypatch.setenv(f"LIVESHELF_ALERTS__{name}", value)
    with pytest.raises(BadSettingsError, match=why) as error:
        load()
    assert "from LIVESHELF_ALERTS__" in str(error.value) and "short" not in str(error.value)


def test_addresses_and_secret_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESHELF_ALERTS__WEBHOOK_URL", "https://me:hidden@shop.example/hook")
    monkeypatch.setenv("LIVESHELF_ALERTS__WEBHOOK_SECRET", "a hidden secret of letters")
    monkeypatch.setenv("LIVESHELF_ALERTS__ALERTMANAGER_URL", "https://me:hidden@alerts.example")
    settings = load()
    assert "hidden" not in settings.dump() and "hidden" not in repr(settings)
    assert settings.alerts.webhook_url is not None
    assert str(settings.alerts.webhook_url.get_secret_value()) == "https://me:hidden@shop.example/hook"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "shop.example"])
def test_metrics_are_not_shown_to_strangers(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESHELF_METRICS__HOST", host)
    assert load().metrics.port is None, "without a port nothing is shown"
    monkeypatch.setenv("LIVESHELF_METRICS__PORT", "0")
    with pytest.raises(BadSettingsError, match="set LIVESHELF_METRICS__TOKEN") as error:
        load()
    assert "from LIVESHELF_METRICS__… in the environment" in str(error.value)
    monkeypatch.setenv("LIVESHELF_METRICS__TOKEN", "short and hidden"[:5])
    with pytest.raises(BadSettingsError, match="at least 16"):
        load()
    monkeypatch.setenv("LIVESHELF_METRICS__TOKEN", "long enough and hidden")
    assert "hidden" not in load().dump()


def test_every_role_has_a_port_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    roles = with_metrics([*worker_roles(3), evaluator_role()], load())
    ports = [role.env["LIVESHELF_METRICS__PORT"] for role in roles]
    assert len(set(ports)) == 4
    assert [role.where for role in roles] == [f"http://127.0.0.1:{port}/metrics" for port in ports]
    assert roles[0].env["LIVESHELF_WORKER__INSTANCE"] == "worker-1", "what a role had it keeps"
    first = several(1, 0, "A role", "stack.metrics_port")[0]
    monkeypatch.setenv("LIVESHELF_STACK__METRICS_PORT", str(first))
    assert with_metrics([evaluator_role()], load())[0].env["LIVESHELF_METRICS__PORT"] == str(first)
    with pytest.raises(StackError, match=r"stack.metrics_port so that 2 ports in a row are free"):
        several(2, 65_535, "A role", "stack.metrics_port")
