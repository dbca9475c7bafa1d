"""Parsing of command options that are more than one word or number.

Knows strings; nothing of what they are for.
"""

import typer


def pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """``NAME=VALUE`` options as a dictionary.

    Examples
    --------
    >>> pairs(["item=title", "grade=relevance"], "--map")
    {'item': 'title', 'grade': 'relevance'}
    """
    found = [one.partition("=") for one in given or ()]
    if wrong := [left for left, equals, right in found if not (left and equals and right)]:
        raise typer.BadParameter(f"{wrong[0]!r} is not NAME=VALUE", param_hint=option)
    return {left: right for left, _, right in found}


def number(text: str, option: str) -> float:
    """A number; BadParameter that names the option if it is none."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number", param_hint=option) from None
