"""Programs that tests run if they are there: skipped with a reason where they are not, but never in CI."""

import os
import shutil
from pathlib import Path

import pytest


def program(*names: str) -> str:
    """Where a program is on PATH, by any of its names; without it the test is skipped, and fails where CI is set."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        told = f"{names[0]} is not installed; on Debian: apt-get install prometheus prometheus-alertmanager openssl"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(told)
    return found


def library(name: str) -> str:
    """Where a preloadable library of Debian's package ``faketime`` is; skipped or failed as :func:`program` is."""
    found = next((str(path) for path in Path("/usr/lib").glob(f"*/faketime/{name}")), None)
    if found is None:
        told = f"{name} is not installed; on Debian: apt-get install faketime"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(told)
    return found
