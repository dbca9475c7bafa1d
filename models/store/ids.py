"""Version ids: sortable by time, readable, and safe as the name of a folder.

Knows text only; nothing of whether a version with such an id exists.
"""

import re
from datetime import UTC, datetime

from models.store.errors import StoreError

METHOD = r"[a-z][a-z0-9_]{0,31}"
PATTERN = re.compile(rf"[0-9]{{8}}-[0-9]{{6}}-{METHOD}-[0-9a-f]{{8}}")


def make(at: datetime, method: str, digest: str) -> str:
    """The id of a version.

    Parameters
    ----------
    at
        When it was made, with a time zone; whole seconds are used.
    method
        How it was trained: a lower-case letter, then lower-case letters, digits and underscores, at most 32 in all.
    digest
        Hexadecimal hash of the content, eight digits or more; the first eight are used.

    Raises
    ------
    StoreError
        When the method cannot be part of an id.

    Examples
    --------
    >>> make(datetime(2026, 11, 24, 15, 30, tzinfo=UTC), "head", "1a2b3c4d5e6f")
    '20261124-153000-head-1a2b3c4d'
    """
    return checked(f"{at.astimezone(UTC):%Y%m%d-%H%M%S}-{method}-{digest[:8]}")


def checked(text: str) -> str:
    """The text itself, if it is a version id.

    Raises
    ------
    StoreError
        When it is no version id, as with any path that leads out of the store.

    Examples
    --------
    >>> checked("20261124-153000-head-1a2b3c4d")
    '20261124-153000-head-1a2b3c4d'
    >>> checked("../../etc")
    Traceback (most recent call last):
    models.store.errors.StoreError: '../../etc' is no version id; one looks like 20261124-153000-head-1a2b3c4d
    """
    if not PATTERN.fullmatch(text):
        raise StoreError(f"{text!r} is no version id; one looks like 20261124-153000-head-1a2b3c4d")
    return text
