"""One file a question; each prints a table and, with ``--json FILE``, writes the figures with the machine's facts."""

import models as models  # first of all: it sets how torch's threads wait, which torch reads when it is imported
