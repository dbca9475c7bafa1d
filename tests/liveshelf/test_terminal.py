"""How mistakes are told: what a person can mend is one paragraph, whichever library found it."""

import pytest
import typer

from liveshelf.terminal import console, explain_errors
from streams.kafka.errors import KAFKA_ERRORS


@pytest.mark.parametrize("family", KAFKA_ERRORS)
def test_errors_of_both_kafka_libraries_are_told_in_one_paragraph(family: type[Exception]) -> None:
    with console.capture() as told, pytest.raises(typer.Exit) as ended, explain_errors():
        raise family("no broker")
    assert ended.value.exit_code == 1
    assert told.get().startswith("Kafka does not answer as it should:") and "no broker" in told.get()
