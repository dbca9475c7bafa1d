"""What a module of ours has logged. Libraries log too, more on a busy machine."""

import pytest


def logged(caplog: pytest.LogCaptureFixture, module: str) -> list[str]:
    """Messages of one module, in order."""
    return [record.getMessage() for record in caplog.records if record.name == module]
