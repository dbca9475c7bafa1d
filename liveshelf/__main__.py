"""``python -m liveshelf`` is ``liveshelf``; like that, it takes no module from the working directory."""

import os
import sys

# Python looks there first. It must not, or a folder called like one of our packages breaks everything, unless the
# working directory is a checkout of this program.
HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120  - pathlib is not to be found yet
if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != HERE:
    del sys.path[0]

from liveshelf.cli import main

main()
