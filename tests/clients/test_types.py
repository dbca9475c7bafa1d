"""The clients' types are those of the committed schemas."""

import sys
from pathlib import Path

import pytest

from clients import generate_types
from liveshelf_client import types
from streams.events.schema import EVENT_TYPES


@pytest.mark.parametrize("path", generate_types.WRITTEN, ids=lambda path: path.name)
def test_committed_types_are_current(path: Path) -> None:
    """When this fails: ``make schemas``, and raise the clients' versions."""
    assert path.read_text("utf-8") == generate_types.WRITTEN[path]()


def test_each_event_has_a_type() -> None:
    names = {kind.__name__ for kind in EVENT_TYPES}
    assert {kind.__name__ for kind in types.Event.__args__} == names
    click = types.Click.__annotations__
    assert "item_id" in types.Click.__required_keys__ and "position" in types.Click.__optional_keys__
    assert click["event_id"] is str and sys.modules["liveshelf_client.types"] is types
