"""A browser to look at pages with."""

import os
import shutil

import pytest


def chromium() -> str:
    """Where a Chromium is; skips where there is none, but fails in CI."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if found := next((path for name in names if (path := shutil.which(name))), None):
        return found
    told = "no Chromium on PATH to look at pages with; on Debian: apt-get install chromium"
    (pytest.fail if os.environ.get("CI") else pytest.skip)(told)
    return ""
