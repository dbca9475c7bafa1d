"""Tasks in the background of each role that end, whichever and however: the process ends and says why, so that its
supervisor begins another. None looks well and does nothing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streams.config import KafkaConfig, TopicsConfig
from streams.runtime import lifecycle
from tests.shop import Shop

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

REASON = {"raises": "broken", "is cancelled": "ended|cancelled|no more", "returns": "ended|no more"}
HOW = tuple(REASON)
READING = "aiokafka.consumer.fetcher:Fetcher._fetch_requests_routine"
SENDING = "streams.kafka.producer:Producer._pass_on"

TASKS = {
    "worker": [
        "streams.catalog.replication:Follower.run",
        SENDING,
    ],
    "evaluator": [
        "evaluator.attribution.shelves:ShelfConsumer.run",
        "evaluator.process:Evaluator._let_time_go_on",
        "evaluator.process:Evaluator._report",
        SENDING,
        READING,
    ],
    "trainer": [
        "evaluator.retraining.example_consumer:ExampleConsumer.run",
        "evaluator.retraining.trainer:Trainer._look",
        SENDING,
    ],
    "dashboard": [
        "evaluator.dashboard.feed:Feed.run",
        "evaluator.dashboard.app:Dashboard._publish",
    ],
    "collect": [
        "liveshelf.collect.app:Collector._publish",
        SENDING,
    ],
}
"""Of each way in which a task is watched, one or two."""


@pytest.mark.parametrize("role", TASKS)
def test_a_task_that_ends_ends_the_process_with_its_reason(
    role: str, kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    tasks = {task: HOW[number % len(HOW)] for number, task in enumerate(TASKS[role])}
    told = [f"{task}={how}" for task, how in tasks.items()]
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        done = subprocess.run(
            [sys.executable, "-m", "tests.broken", role, str(tmp_path), *told],
            env=os.environ | shop.env,
            capture_output=True,
            text=True,
            check=False,
        )
    codes = json.loads(done.stdout or "{}")
    assert codes.keys() == tasks.keys(), done.stderr
    for task, how in tasks.items():
        log = (tmp_path / f"{task}.log").read_text()
        assert codes[task] not in (None, 0), f"{task} {how}, and the process ends with {codes[task]}: {log[-5_000:]}"
        words = lifecycle.read_last_words(tmp_path / f"{task}.words")
        assert re.search(REASON[how], words), f"{task} {how}, and the last words are {words!r}: {log[-5_000:]}"
