"""``--smoke``, which every benchmark has: the smallest size, on made-up data, to see that it still runs.

Its figures say nothing of speed or quality. Nothing is written but what ``--json`` names. Knows nothing of what is
measured.
"""

import functools
import inspect
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import typer

from benchmarks.data import make_up

Main = Callable[..., None]
Scale = Annotated[float, typer.Option(help="Of the documented durations and numbers of examples.")]
HELP = "The smallest size, in seconds and on made-up data, to see that it runs; leaves other sizes unheard."


def smoke(**sizes: Any) -> Callable[[Main], Main]:
    """Give a benchmark's ``main`` the option ``--smoke``, and say which sizes it then has.

    Examples
    --------
    >>> @smoke(items=2)
    ... def main(items: int = 1_000) -> None:
    ...     print(items)
    >>> main()
    1000
    >>> main(smoke=True)
    2
    """

    def add(main: Main) -> Main:
        @functools.wraps(main)
        def run(*, smoke: bool = False, **options: Any) -> None:
            if not smoke:
                main(**options)
                return
            with tempfile.TemporaryDirectory() as folder:
                make_up(Path(folder))
                with patch.dict(os.environ, LIVESHELF_DATA=folder):  # of this process and of those that it starts
                    main(**(options | sizes))

        known = inspect.signature(main)
        option = Annotated[bool, typer.Option("--smoke", help=HELP)]
        parameter = inspect.Parameter("smoke", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)
        if unknown := sizes.keys() - known.parameters.keys():
            raise TypeError(f"{main.__module__} has no options {', '.join(sorted(unknown))}")
        run.__signature__ = known.replace(parameters=[*known.parameters.values(), parameter])  # type: ignore[attr-defined]
        return run

    return add
