"""Secrets out of whatever people may read: what is printed, logged, or told to others.

Pure: takes text, gives text. Knows how URLs carry secrets; nothing of any single setting.
"""

import re

MASK = "***"

_WORD = re.compile(r"""[^\s'"<>]+""")
_QUERY = re.compile(r"""([?&;])([\w.%-]+)=[^&;\s'"<>]+""")
_NAME = re.compile(
    r"passw(?:or)?d|passphrase|token|secret|signature|credentials?|api[_-]?key|access[_-]?key"
    r"|^(?:pwd|pass|key|sig|sas|auth)$",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """A text without the user names, passwords and keys of the URLs in it.

    Examples
    --------
    >>> masked("rediss://me:secret@cache:6379/0 or redis://127.0.0.1:6379/0?db=1&password=x")
    'rediss://***@cache:6379/0 or redis://127.0.0.1:6379/0?db=1&password=***'
    >>> masked("redis+cluster://me:pw@a:1,b:2: no answer"), masked("s3://KEY:SEC/RET@bucket/models")
    ('redis+cluster://***@a:1,b:2: no answer', 's3://***@bucket/models')
    """
    if "://" not in text and "=" not in text:
        return text
    return _QUERY.sub(_unsaid, _WORD.sub(_anonymous, text))


def _anonymous(word: re.Match[str]) -> str:
    """A word without what stands between a scheme and the last ``@``: a password may hold a slash, or a question mark,
    that nobody has escaped."""
    told = word[0]
    begin, end = told.find("://") + 3, told.rfind("@")
    return f"{told[:begin]}{MASK}{told[end:]}" if 3 <= begin <= end else told


def _unsaid(query: re.Match[str]) -> str:
    return f"{query[1]}{query[2]}={MASK}" if _NAME.search(query[2]) else query[0]


def masked_servers(servers: str) -> str:
    """Servers separated by commas, without what stands before an ``@``.

    Examples
    --------
    >>> masked_servers("me:pw@a:9092,b:9092")
    '***@a:9092,b:9092'
    """
    return ",".join(MASK + one[one.rindex("@") :] if "@" in one else one for one in servers.split(","))
