"""Any class of one's own as a contender: ``python:MODULE:NAME``, from the folder where the command runs or the path.

Knows how to import; the class is made without arguments and has the methods of ``Contender``.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

from evaluator.offline.contenders.contender import Contender, ContenderError


def imported(rest: str) -> Contender:
    """A class of one's own, as MODULE:CLASS; it is called without arguments.

    Raises
    ------
    ContenderError
        Where there is no such module or class, or it lacks ``fit`` or ``score``.

    Examples
    --------
    >>> type(imported("evaluator.offline.contenders.simple:Random")).__name__
    'Random'
    >>> imported("evaluator.offline.contenders.simple:Randm")
    Traceback (most recent call last):
    evaluator.offline.contenders.contender.ContenderError: The module evaluator.offline.contenders.simple has no Randm.
    """
    module, name = found_module(rest)
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ContenderError(f"The module {module} cannot be imported: {error}.") from error
    if not hasattr(found, name):
        raise ContenderError(f"The module {module} has no {name}.")
    made = getattr(found, name)()
    for method in ("fit", "score"):
        if not callable(getattr(made, method, None)):
            raise ContenderError(f"{module}:{name} has no method {method}: a contender has fit and score.")
    contender: Contender = made
    return contender


def found_module(rest: str) -> tuple[str, str]:
    """The module and the class that a text names; the module is there, and is not imported.

    Raises
    ------
    ContenderError
        When it is not there, or the text has another form.
    """
    module, _, name = rest.partition(":")
    if not module or not name:
        raise ContenderError(f"python:{rest} names no class: give python:MODULE:CLASS.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        there = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        raise ContenderError(f"The module {module} cannot be imported: there is none here or on the path.")
    return module, name


CONTENDERS = {"python": imported}

CHECKS = {"python": found_module}
