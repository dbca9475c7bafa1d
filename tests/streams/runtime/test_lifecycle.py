"""Last words of processes, and their beginnings on the topic."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams import reporting
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka import topics
from streams.kafka.topic_reader import contents
from streams.runtime import lifecycle
from streams.telemetry.meter import decoder

LEAVES = """
from streams.runtime.lifecycle import or_leave
with or_leave(where="shop.events/3 offset 812"):
    raise ExceptionGroup("tasks", [ValueError("no codec at redis://me:pw@cache/0\\n" + "x" * 10_000)])
"""


def ended(code: str, file: Path) -> int:
    env = os.environ | {lifecycle.VARIABLE: str(file)}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=False, capture_output=True, cwd=Path.cwd())
    return done.returncode


def test_a_batch_that_fails_leaves_its_words(tmp_path: Path) -> None:
    file = tmp_path / "last"
    assert ended(LEAVES, file) == 70
    said = lifecycle.read_last_words(file)
    assert said.startswith("ValueError at shop.events/3 offset 812: no codec at redis://***@cache/0 xxx")
    assert len(said) == lifecycle.MOST and file.stat().st_size < 3 * lifecycle.MOST


def test_words_are_believed_of_the_process_that_wrote_them_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "last"
    monkeypatch.setenv(lifecycle.VARIABLE, str(file))
    with pytest.raises(OSError, match="full"), lifecycle.last_words(KeyError):
        raise OSError("full")
    assert lifecycle.read_last_words(file, os.getpid()) == "OSError: full" == lifecycle.read_last_words(file)
    assert lifecycle.read_last_words(file, 1) == ""
    with pytest.raises(KeyError), lifecycle.last_words(KeyError):
        raise KeyError("no error")
    assert lifecycle.read_last_words(file) == "OSError: full"


def test_words_go_nowhere_without_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(lifecycle.VARIABLE, raising=False)
    lifecycle.write_last_words("nobody asks")
    monkeypatch.setenv(lifecycle.VARIABLE, str(tmp_path / "no" / "such" / "folder"))
    lifecycle.write_last_words("nowhere to write")
    (tmp_path / "junk").write_bytes(b"\xff\x00" * 10_000)
    assert len(lifecycle.read_last_words(tmp_path / "junk")) <= lifecycle.MOST
    assert lifecycle.read_last_words(tmp_path) == ""


@pytest.mark.integration
def test_a_beginning_is_on_the_topic_with_the_words_of_the_run_before(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.create(kafka, topics_config)
    (tmp_path / "last").write_text("process 7: OSError: full\n")
    monkeypatch.setenv(lifecycle.VARIABLE, str(tmp_path / "last"))
    config = StreamsConfig(kafka=kafka, topics=topics_config)
    reporting.announce(config, "worker", "worker-1")
    [told] = [decoder.decode(one.value) for one in contents(config, topics.Topics(topics_config.prefix).metrics)]
    assert (told.role, told.id) == (reporting.STARTED, f"{os.uname().nodename}-{os.getpid()}")
    assert told.labels == {
        "role": "worker",
        "instance": "worker-1",
        "host": os.uname().nodename,
        "last_words": "OSError: full",
    }


def test_a_broker_that_is_away_does_not_hold_up_a_beginning(caplog: pytest.LogCaptureFixture) -> None:
    reporting.announce(StreamsConfig(kafka=KafkaConfig(bootstrap_servers="127.0.0.1:1")), "worker", None)
    assert "could not be reported" in caplog.text
