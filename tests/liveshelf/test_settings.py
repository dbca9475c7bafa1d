"""Settings: which source wins, what a bad value is told, and that no secret is printed."""

import os
import tomllib
from pathlib import Path

import pytest

from liveshelf.settings import BadSettingsError, load
from liveshelf.stack_record import RunningProcess, StackRecord
from streams.config import StreamsConfig

pytestmark = pytest.mark.usefixtures("no_settings")


def running_stack(folder: Path, age_s: float = 0.0) -> None:
    """A record whose supervisor has this process's pid, and was started ``age_s`` before it."""
    folder.mkdir(exist_ok=True)
    me = RunningProcess.of(os.getpid())
    supervisor = RunningProcess(me.pid, me.started - age_s)
    StackRecord(
        bootstrap_servers="stack:1", redis_url="redis://stack:1/0", since="", supervisor=supervisor, processes={}
    ).write(folder)


def test_defaults_are_those_of_the_streaming_side() -> None:
    settings = load()
    assert settings.streams() == StreamsConfig()
    assert settings.own_kafka() is None and settings.own_redis() is None


def test_nearer_sources_win_one_after_the_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = []
    running_stack(tmp_path / ".liveshelf")
    found.append(load().kafka.bootstrap_servers)
    (tmp_path / "liveshelf.toml").write_text('[kafka]\nbootstrap_servers = "file:1"\nusername = "me"\n')
    found.append(load().kafka.bootstrap_servers)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "known:1")
    found.append(load().kafka.bootstrap_servers)
    monkeypatch.setenv("LIVESHELF_KAFKA__BOOTSTRAP_SERVERS", "env:1")
    found.append(load().kafka.bootstrap_servers)
    found.append(load(kafka={"bootstrap_servers": "argument:1"}).kafka.bootstrap_servers)
    assert found == ["stack:1", "file:1", "known:1", "env:1", "argument:1"]
    assert load().kafka.username == "me", "groups are merged, not replaced"
    assert load().own_redis() == "redis://stack:1/0"


def test_a_stack_is_looked_for_in_the_folder_that_is_set_and_only_while_it_lives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running_stack(tmp_path / "other")
    assert load().own_kafka() is None
    monkeypatch.setenv("LIVESHELF_STACK__FOLDER", "other")
    assert load().own_kafka() == "stack:1"
    assert load(stack={"folder": "nowhere"}).own_kafka() is None
    running_stack(tmp_path / "other", age_s=100)  # another process had this pid then
    assert load().own_kafka() is None


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "LIVESHELF_TOPICS__PARTITIONS",
            "0",
            "topics.partitions (from LIVESHELF_TOPICS__PARTITIONS in the environment)",
        ),
        ("LIVESHELF_KAFAK__USERNAME", "me", "LIVESHELF_KAFAK__USERNAME in the environment sets nothing"),
        ("LIVESHELF_KAFKA__PORT", "1", "kafka.port (from LIVESHELF_KAFKA__PORT in the environment): there is no such"),
        ("LIVESHELF_POLICY__STEPS", '["x"]', "policy.steps.0 (from LIVESHELF_POLICY__STEPS in the environment)"),
        ("LIVESHELF_POLICY__STEPS", "x", "as JSON; this is not: one of LIVESHELF_POLICY__STEPS"),
        ("LIVESHELF_STACK", "3", "stack (from LIVESHELF_STACK in the environment)"),
        ("LIVESHELF_CONFIG", "nowhere.toml", "The settings file nowhere.toml that LIVESHELF_CONFIG names is not there"),
    ],
)
def test_bad_values_in_the_environment_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingsError) as error:
        load()
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[topics]\npartitions = 0\n", "topics.partitions (from liveshelf.toml)"),
        ("[tropics]\npartitions = 1\n", "tropics (from liveshelf.toml): there is no such setting"),
        ("[topics\n", "liveshelf.toml is not TOML"),
    ],
)
def test_bad_values_in_the_file_are_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "liveshelf.toml").write_text(text)
    with pytest.raises(BadSettingsError) as error:
        load()
    assert told in str(error.value)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(BadSettingsError, match=r"stack\.workers \(given as an argument\)"):
        load(stack={"workers": 0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "redis://h/0?password=hunter2"),
        ("REDIS_URL", "redis+cluster://me:hunter2@a:1,b:2"),
        ("KAFKA_BOOTSTRAP_SERVERS", "me:hunter2@a:9092,b:9092"),
        ("LIVESHELF_MODEL__STORE", "s3://KEY:hunter2@bucket/models"),
        ("LIVESHELF_MODEL__STORE", "abfs://c@a/models?sig=hunter2"),
        ("LIVESHELF_MODEL__WEIGHTS", "https://h/w?token=hunter2"),
        ("LIVESHELF_ALERTS__ALERTMANAGER_URL", "https://me:hunter2@h:9093"),
        ("LIVESHELF_ALERTS__LINK", "https://h/d?api_key=hunter2"),
    ],
)
def test_no_setting_shows_a_secret(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    dump = load().dump()
    assert "hunter2" not in dump and "***" in dump
    assert tomllib.loads(dump)


def test_dump_is_toml_that_can_be_read_back_and_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://me:hunter2@cache:6379/0")
    monkeypatch.setenv("LIVESHELF_KAFKA__PASSWORD", "hunter3")
    monkeypatch.setenv("LIVESHELF_KAFKA__USERNAME", 'quo"te\\')
    dump = load().dump()
    assert "hunter" not in dump
    told = tomllib.loads(dump)
    assert told["redis"]["url"] == "rediss://***@cache:6379/0"
    assert told["kafka"]["username"] == 'quo"te\\'
    assert told["policy"]["intent_weights"]["buy"] == 1.0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[kafka]\nusername = 'Jos\u00e9'\n".encode("latin-1"), "liveshelf.toml is not UTF-8"),
        ("[topics]\npartitions = 3\n".encode("utf-16"), "liveshelf.toml is not UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
        (b'[stack]\nfolder = "a\\u0000b"\n', "stack.folder (from liveshelf.toml): a folder's name has no NUL"),
    ],
    ids=["Latin-1", "UTF-16", "deep", "NUL"],
)
def test_a_file_that_cannot_be_read_is_one_paragraph(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "liveshelf.toml").write_bytes(content)
    with pytest.raises(BadSettingsError) as error:
        load()
    assert told in str(error.value)


def test_a_byte_order_mark_before_the_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "liveshelf.toml").write_bytes(b"\xef\xbb\xbf[topics]\r\npartitions = 3\r\n")
    assert load().topics.partitions == 3


@pytest.mark.parametrize("content", [b"\xff", b'{"since": "\xff"}', b"[" * 100_000, b"{}"])
def test_a_damaged_record_of_a_stack_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stack.json").write_bytes(content)
    assert StackRecord.read(tmp_path) is None
    assert StackRecord.read(Path("a\0b")) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in ("EVALUATOR__WINDOW_S", "TOPICS__RETENTION_HOURS", "WORKER__SESSION_TIMEOUT_S")
        for value in ("inf", "nan", "1e308")
    ]
    + [
        ("TOPICS__PARTITIONS", "999999999999"),
        ("STATE__TTL_S", str(10**24)),
        ("STATE__SHARDS", str(10**24)),
        ("WORKER__BATCH_EVENTS", str(10**24)),
        ("EVALUATOR__STATE_TTL_S", str(10**24)),
        ("STACK__WORKERS", str(10**24)),
        ("CANDIDATES__VECTOR", str(10**24)),
        ("MODEL__THREADS", str(10**24)),
        ("TOPICS__PREFIX", "bad name/"),
        ("TOPICS__PREFIX", "caf\u00e9"),
        ("TOPICS__PREFIX", "x" * 151),
    ],
)
def test_a_value_beyond_all_sense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LIVESHELF_{name}", value)
    with pytest.raises(BadSettingsError, match=f"from LIVESHELF_{name} in the environment"):
        load()


@pytest.mark.parametrize("weight", ["1e9", "-1e9", "Infinity", "NaN"])
def test_a_weight_is_finite_and_bounded(monkeypatch: pytest.MonkeyPatch, weight: str) -> None:
    monkeypatch.setenv("LIVESHELF_POLICY__INTENT_WEIGHTS", f'{{"buy": {weight}}}')
    with pytest.raises(BadSettingsError, match=r"policy\.intent_weights\.buy"):
        load()


def test_every_default_and_what_large_shops_set_is_within_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load()
    assert type(settings).model_validate(settings.model_dump()) == settings
    for name, value in [("PREFIX", "Shop_1.test-"), ("PARTITIONS", "10000"), ("MAX_MESSAGE_BYTES", "67108864")]:
        monkeypatch.setenv(f"LIVESHELF_TOPICS__{name}", value)
    monkeypatch.setenv("LIVESHELF_STATE__TTL_S", str(2 * 365 * 86_400))
    assert load().topics.partitions == 10_000
