"""The page of all settings is current."""

from pathlib import Path

from typer.testing import CliRunner

from liveshelf.cli.app import app
from liveshelf.cli.settings_reference import GUIDES
from liveshelf.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_is_current() -> None:
    """When this fails: ``make schemas``."""
    assert CliRunner().invoke(app, ["config", "--markdown"]).stdout == PAGE.read_text("utf-8")


def test_every_setting_is_on_the_page_with_what_it_may_be() -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    for group, field in Settings.model_fields.items():
        for name in type(field.default).model_fields:
            assert any(line.startswith(f"| `LIVESHELF_{group}__{name}`".upper()) for line in lines), name
    assert GUIDES.keys() == Settings.model_fields.keys()
    assert "| `LIVESHELF_DASHBOARD__TOKEN` | none | secret of 16 characters or more |" in lines
    assert "| `LIVESHELF_ROLLOUT__SHARE` | `0.1` | number above 0 below 1 |" in lines
    assert "| `LIVESHELF_REDIS__URL` or `REDIS_URL` | `redis://127.0.0.1:6379/0` | secret |" in lines
