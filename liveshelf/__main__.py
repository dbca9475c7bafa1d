"""``python -m liveshelf`` is ``liveshelf``."""

from liveshelf.cli import main

main()
