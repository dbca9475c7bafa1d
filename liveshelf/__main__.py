"""``python -m liveshelf``: the same as ``liveshelf``; it, too, imports nothing from the working directory."""

import os
import sys

# Python searches the working directory first. A folder there with the name of one of our packages would break the
# program, so remove it, unless the working directory is a checkout of this program.
if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != os.path.dirname(os.path.dirname(__file__)):  # noqa: PTH120
    del sys.path[0]

from liveshelf.cli.app import main

main()
