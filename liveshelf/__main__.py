"""``python -m liveshelf`` is ``liveshelf``; like that, it takes no module from the working directory."""

import os
import sys

# Python looks there first. It must not, or a folder called like one of our packages breaks everything, unless the
# working directory is a checkout of this program.
if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != os.path.dirname(os.path.dirname(__file__)):  # noqa: PTH120
    del sys.path[0]

from liveshelf.cli.app import main

main()
