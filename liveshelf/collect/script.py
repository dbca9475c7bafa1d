"""Makes the script for a shop's pages small: without comments and indentation, and compressed.

Knows the one script's style: comments stand on lines of their own, and no text runs over lines.
"""

import gzip


def minified(source: str) -> bytes:
    """The script without comments, indentation and blank lines.

    Examples
    --------
    >>> minified("// What it does.\\n(() => {\\n  const a = 1;\\n\\n})();\\n")
    b'(() => {\\nconst a = 1;\\n})();\\n'
    """
    lines = (line.strip() for line in source.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//")).encode()


def compressed(script: bytes) -> bytes:
    """The script as browsers are sent it; the same each time."""
    return gzip.compress(script, mtime=0)
