"""Errors in Chinese: every one that connections, settings and imports raise, and which language is chosen."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from evaluator.translations import Translations, read
from liveshelf.terminal import console, explain_errors, in_own_language
from streams.connectivity import UnreachableError

ROOT = Path(__file__).parents[2]
FILES = (
    ROOT / "liveshelf" / "settings.py",
    ROOT / "streams" / "connectivity.py",
    ROOT / "streams" / "kafka" / "kafka_connectivity.py",
    ROOT / "streams" / "redis" / "redis_connectivity.py",
    *sorted((ROOT / "streams" / "events" / "adapters").glob("*.py")),
)
RAISED = {"BadSettingsError", "UnreachableError", "MappingError", "SourceError"}

SAME = re.compile(
    r"""liveshelf|LIVESHELF_\w+|\w+\.\w+\.\w+|(?:kafka|redis|values)\.\w+|advertised\.listeners|rediss?://|--[\w-]+|\[[\w.]+\]"""
    r"""|item_id=(?:sku)?|type\.view=click|broker-\d|user:password@|pip install|tr '\\[rn]' '\\[rn]'|SCRAM-SHA-\d+"""
    r"""|utf-8|cp1252|shift_jis|gb18030|x\d(?:CONFIG)?|SASL_x\d|PEM|TLS|Kafka|Redis|UBI|JSON|XML|Parquet|UTF-8|TOML|PLAIN|broker|import|guess|up\b"""
)
"""Names of settings, options, formats and programs, and what stands in fields below."""

CHINESE = Translations(read("liveshelf", "hints.toml")["sentences"])


def raised() -> Iterator[tuple[str, str]]:
    """Messages of errors, with a name in every field."""
    for file in FILES:
        for one in ast.walk(ast.parse(file.read_text())):
            if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in RAISED and one.args:
                yield file.name, _filled(one.args[0])


def _filled(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = (str(one.value) if isinstance(one, ast.Constant) else f"x{place}" for place, one in enumerate(node.values))
    return "".join(parts)


def test_every_error_of_connections_settings_and_imports_has_its_chinese() -> None:
    found = [one for one in raised() if re.search("[A-Za-z]{3} ", one[1])]
    assert len(found) > 40
    left = {(file, text) for file, text in found if re.search("[A-Za-z]{2}", SAME.sub("", CHINESE.say(text, "zh")))}
    assert left == set()


def test_translations_fill_in_the_same_fields() -> None:
    fields = re.compile(r"\{[a-z]+\}")
    words = read("liveshelf", "hints.toml")["sentences"]
    assert {one for one, said in words.items() if set(fields.findall(one)) != set(fields.findall(said))} == set()


@pytest.mark.parametrize(
    ("environment", "chinese"),
    [
        ({"LIVESHELF_LANGUAGE": "zh"}, True),
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LC_ALL": "en_US.UTF-8", "LANG": "zh_CN.UTF-8"}, False),
        ({"LIVESHELF_LANGUAGE": "en", "LANG": "zh_CN.UTF-8"}, False),
        ({"LC_ALL": "C", "LANG": "zh_TW.UTF-8"}, False),
        ({}, False),
    ],
)
def test_the_setting_comes_before_the_locale(
    environment: dict[str, str], chinese: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LIVESHELF_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    told = in_own_language("no preset 'shopfy'; there are shopify, ga4")
    assert ("没有预设 'shopfy'" in told) == chinese and ("no preset" in told) != chinese


def test_an_error_is_shown_in_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESHELF_LANGUAGE", "zh")
    message = (
        "Kafka at 127.0.0.1:9092: nothing listens there. Start it (liveshelf up starts one here, within a minute), or "
        "correct kafka.bootstrap_servers."
    )
    with console.capture() as told, pytest.raises(typer.Exit), explain_errors():
        raise UnreachableError(message)
    said = told.get().replace("\n", "")
    assert "127.0.0.1:9092 上没有 Kafka 在监听" in said and "更正 kafka.bootstrap_servers。" in said


def test_a_command_refuses_a_wrong_setting_in_chinese(tmp_path: Path) -> None:
    environment = os.environ | {"LIVESHELF_LANGUAGE": "zh", "LIVESHELF_STACK__WORKERS": "0", "COLUMNS": "200"}
    command = [sys.executable, "-m", "liveshelf", "config"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "设置无效。stack.workers（来自环境变量 LIVESHELF_STACK__WORKERS）" in done.stdout
    assert "应大于或等于 1。" in done.stdout
