"""The command line: help that shows how, and mistakes answered with one paragraph and exit code 1."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.alerts.topic import PublishedAlert
from liveshelf.cli.app import app
from liveshelf.cli.shelves import show
from liveshelf.cli.status import evaluator_tables
from liveshelf.settings import load
from liveshelf.terminal import console
from streams.clock import wall_ms
from streams.events.shelf import Shelf, ShelfItem, shelf_decoder
from streams.telemetry.meter import Series, Snapshot

WITHOUT_EXAMPLE = {("topics", "create"), ("health",), ("config",)}
"""Commands whose name is all there is to type."""


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


ALL = sorted(commands(typer.main.get_command(app)))


@pytest.fixture(autouse=True)
def clean(no_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test, and lines wide enough not to be broken."""
    monkeypatch.setenv("COLUMNS", "500")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_says_what_and_shows_how(path: tuple[str, ...]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    if path not in WITHOUT_EXAMPLE:
        assert "Example" in result.output and f"liveshelf {' '.join(path)}" in result.output


def test_without_arguments_it_lists_the_commands() -> None:
    output = run().output
    assert all(path[0] in output for path in ALL)


@pytest.mark.parametrize(
    "arguments",
    [("worker",), ("topics", "create"), ("get", "feed", "u"), ("dead-letters", "ls"), ("status",), ("config",)],
    ids=" ".join,
)
def test_bad_settings_are_one_paragraph(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESHELF_WORKER__BATCH_EVENTS", "many")
    result = run(*arguments)
    assert result.exit_code == 1
    [paragraph] = result.output.strip().splitlines()
    assert "worker.batch_events" in paragraph and "LIVESHELF_WORKER__BATCH_EVENTS" in paragraph


def test_a_server_that_is_away_is_one_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    result = run("get", "search", "hdmi")
    assert result.exit_code == 1
    assert "Redis" in result.output and "liveshelf up" in result.output and "Traceback" not in result.output


def test_a_file_that_is_not_there_is_told() -> None:
    result = run("import", "items", "nothing.csv")
    assert result.exit_code == 2 and "nothing.csv" in result.output


@pytest.mark.integration
@pytest.mark.parametrize("arguments", [("feed", "u"), ("search", "q"), ("similar", "i"), ("popular",)], ids=" ".join)
def test_get_with_nothing_there_says_what_to_do(
    arguments: tuple[str, ...], redis_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_db)
    result = run("get", *arguments)
    assert result.exit_code == 1
    assert "worker" in result.output and "catalogue" in result.output


@pytest.mark.integration
def test_get_prints_a_shelf_as_a_table_and_as_it_stands(redis_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis import Redis

    from streams.events.shelf import Shelf, ShelfItem, encoder

    item = ShelfItem("i[1]", 0.5, 0.1, 0.2, 0.3, "vector")
    value = Shelf(shelf_id="s", surface="feed", model="m", arm="a", made_at=1, event_ts=1, items=[item])
    with Redis.from_url(redis_db) as redis:
        redis.set("shelf:feed:u", encoder.encode(value))
    monkeypatch.setenv("REDIS_URL", redis_db)
    assert run("get", "feed", "u", "--json").output == encoder.encode(value).decode() + "\n"
    table = run("get", "feed", "u")
    assert table.exit_code == 0 and "i[1]" in table.output and "vector" in table.output


def test_config_prints_what_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESHELF_WORKER__BATCH_EVENTS", "7")
    (tmp_path / "liveshelf.toml").write_text(run("config").output)
    monkeypatch.delenv("LIVESHELF_WORKER__BATCH_EVENTS")
    assert load().worker.batch_events == 7


HOSTILE = ("[/sku]", "[red]lamp[/red]", "[bold", ":cat:", "\x1b[2Jlamp")


def as_shown(text: str) -> str:
    return text.replace("\x1b", "\ufffd")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_shelf_is_shown_as_it_stands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    item = ShelfItem(name, 0.5, 0.1, 0.2, 0.3, name)
    show(Shelf(shelf_id="s", surface=name, model=name, arm="a", made_at=1, event_ts=1, items=[item]), False)
    assert capsys.readouterr().out.count(as_shown(name)) == 4


@pytest.mark.parametrize("name", HOSTILE)
def test_alerts_are_shown_as_they_stand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alert = Alert(
        name=name, labels={"item": name}, state="firing", summary=name, since=wall_ms(), evidence={"worst": name}
    )
    monkeypatch.setattr("liveshelf.terminal.reached", lambda config, **_: config)
    monkeypatch.setattr("evaluator.monitoring.alerts.topic.read", lambda *_: [PublishedAlert(alert, wall_ms(), "me")])
    result = run("alerts", "ls")
    assert result.exit_code == 0 and result.output.count(as_shown(name)) == 4, result.output


@pytest.mark.parametrize("value", [b"\xff", b'{"shelf_id": "caf\xe9"}', b"[" * 100_000, b"{}"])
@pytest.mark.parametrize("arguments", [("feed", "u"), ("search", "q"), ("similar", "i"), ("popular",)], ids=" ".join)
def test_a_damaged_shelf_is_one_paragraph(
    arguments: tuple[str, ...], value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liveshelf.cli.shelves.reached", lambda config, **_: config)
    monkeypatch.setattr("streams.redis.client.ShelfClient._first", lambda *_: shelf_decoder.decode(value))
    result = run("get", *arguments)
    [paragraph] = result.output.strip().splitlines()
    assert result.exit_code == 1 and "What Redis holds there is no shelf" in paragraph


@pytest.mark.parametrize("name", HOSTILE)
def test_what_evaluators_count_is_shown_as_it_stands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    labels = {"window": name, "surface": name, "arm": name, "model": name}
    series = [Series("rate_impressions", labels, 100), Series("bots", {"reason": name}, 1)]
    one = Snapshot(role="evaluator", id=name, from_ms=0, to_ms=1, counts={}, gauges={}, sketches={}, series=series)
    for table in evaluator_tables([one]):
        console.print(table)
    assert capsys.readouterr().out.count(as_shown(name)) == 6


@pytest.mark.parametrize(
    "sample",
    [
        "shopify.csv", "woocommerce.csv", "google-merchant.xml", "google-merchant-atom.xml", "google-merchant.tsv",
        "magento.csv", "prestashop.csv", "ec-cube.csv", "shopware.csv", "json-ld.json", "ga4.jsonl", "segment.jsonl",
        "snowplow.jsonl", "matomo.json", "retailrocket.csv", "otto.jsonl", "amazon-reviews.jsonl",
    ],
)  # fmt: skip
def test_a_guess_names_the_preset_and_a_command_that_works(sample: str, tmp_path: Path) -> None:
    file = Path(__file__).parents[2] / "streams" / "events" / "samples" / sample
    output = run("import", "--guess", str(file)).output
    command = output.strip().splitlines()[-1].split()
    assert command[-2:] == ["--preset", sample.partition(".")[0].removesuffix("-atom")]
    assert "read as: " in output and "names: " in output and output.count('{"') >= 1
    result = run(*command[1:], "--dry-run", "--refused", str(tmp_path / "refused"))
    assert result.exit_code == 0 and "would send" in result.output


def test_a_guess_by_names_maps_columns_and_values(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Artikelnummer;Bezeichnung;Preis;Bestand\n1;Größe L;1.299,00;3\n2;Tür;12,50;0\n")
    output = run("import", "--guess", str(tmp_path / "a.csv")).output
    assert "--map item_id=Artikelnummer --map title=Bezeichnung --map price=Preis --map in_stock=Bestand" in output
    assert '"price":1299.0' in output and '"in_stock":false' in output
    (tmp_path / "b.csv").write_text("userId,eventType,itemId,timestamp\n1,view,22,1768003200000\n")
    output = run("import", "--guess", str(tmp_path / "b.csv")).output
    assert "liveshelf import events" in output and "--map-value type.view=click" in output
    (tmp_path / "c.bin").write_bytes(bytes(range(256)))
    assert run("import", "--guess", str(tmp_path / "c.bin")).exit_code in {0, 1}


def test_every_line_refused_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("userId,itemId,timestamp\n1,22,1768003200\n")
    result = run(
        "import", "events", str(tmp_path / "a.csv"), "--map", "type==click", "--map", "ts=timestamp", "--map",
        "user_id=userId", "--map", "item_id=itemId", "--dry-run", "--refused", str(tmp_path / "refused"),
    )  # fmt: skip
    assert result.exit_code == 1 and "looks like seconds" in result.output and "nothing was taken" in result.output
