"""One file a question; each prints a table and, with ``--json FILE``, writes the figures with the machine's facts."""
