"""``liveshelf prepare``: its options, the mapping it shows, and mistakes in one paragraph."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from liveshelf.cli.app import app


@pytest.fixture(autouse=True)
def wide(no_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")


def prepare(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["prepare", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    path.write_text("sku,title,colour\n1,Lamp,red\n2,,blue\n3,Desk,red\n", "utf-8")
    return path


def test_the_mapping_is_shown_and_edited(items: Path, tmp_path: Path) -> None:
    shown = prepare(items, "--show-mapping", "--out", tmp_path / "out").output
    assert "items: fields and columns" in shown and "Lamp" in shown and "--column FIELD=NAME" in shown
    edited = prepare(items, "--show-mapping", "--column", "brand=colour").output
    assert any("brand" in line and "colour" in line and "blue" in line for line in edited.splitlines())
    assert list(tmp_path.iterdir()) == [items]


def test_rows_in_and_out_are_said(items: Path, tmp_path: Path) -> None:
    result = prepare(items, "--out", tmp_path / "out")
    assert result.exit_code == 0 and "3 rows in, 2 out: all 2." in result.output and "missing_text" in result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "all.parquet", "dropped.parquet", "card.html", "card.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--kind", "pairs"), "no column for query"),
        (("--keep", "nonsense"), "nonsense is no rule"),
        (("--split", "query"), "cannot be split by query"),
        (("--rate", "EUR=0"), "EUR is not above 0"),
    ],
)
def test_mistakes_are_one_paragraph(items: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    result = prepare(items, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1 and sentence in result.output and len(result.output.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == [items]
