"""Versions of installed libraries."""

from collections.abc import Iterable
from importlib import metadata


def versions(names: Iterable[str]) -> dict[str, str]:
    """Each library's version; one that is not installed is left out.

    Examples
    --------
    >>> list(versions(["torch", "no-such-library"]))
    ['torch']
    """
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
