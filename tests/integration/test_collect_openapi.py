"""Schemathesis makes requests from the collector's OpenAPI document: each is answered as the document says."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks

from streams.config import KafkaConfig, TopicsConfig
from tests.collectors import WRITE, collecting
from tests.integration.test_collect import environment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ALL = list(HealthCheck)
EXAMPLES = 40
"""Requests of each kind and path; some seconds for all of them."""

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]
"""Not: that all that the schemas allow is taken, since times must be plausible, nor that nothing else is, since a batch
may hold what is refused."""


@pytest.fixture(scope="module")
def described(kafka: KafkaConfig, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of a running collector, as it gives it out."""
    topics = TopicsConfig(prefix=f"t{uuid.uuid4().hex[:10]}-", partitions=1, compacted_partitions=1)
    env = environment(kafka.bootstrap_servers, redis_url, topics)
    del env["LIVESHELF_COLLECT__READ_KEY"]
    with collecting(env, tmp_path_factory.mktemp("openapi") / "log") as (where, _):
        yield schemathesis.openapi.from_url(f"{where}/openapi.json")


SEEN = {
    GenerationMode.POSITIVE: {("/items", 202), ("/items/{id}", 202), ("/forget", 202), ("/healthz", 200)},
    GenerationMode.NEGATIVE: {("/events", 400), ("/items", 400), ("/forget", 400), ("/shelf/{surface}/{id}", 400)},
}
"""Answers that must be among those of valid and of invalid requests, lest these were not made at all."""


@pytest.mark.parametrize("mode", SEEN, ids=lambda mode: mode.value)
def test_it_answers_as_it_says(described: Any, mode: GenerationMode) -> None:
    seen = set()
    for operation in (found.ok() for found in described.get_all_operations()):
        if mode is GenerationMode.NEGATIVE and operation.path == "/healthz":  # it takes nothing that could be invalid
            continue

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=ALL)
        @given(operation.as_strategy(generation_mode=mode))
        def answers(case: Any) -> None:
            answer = case.call(headers={"Authorization": f"Bearer {WRITE}"})
            case.validate_response(answer, checks=CHECKS)
            seen.add((case.path, answer.status_code))

        answers()
    assert seen >= SEEN[mode]
