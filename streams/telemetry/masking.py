"""Removes secrets from text that people may read: output, logs and published messages.

Pure: takes text, returns text. Knows how URLs carry secrets; nothing of any single setting.
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
    return _QUERY.sub(_masked_value, _WORD.sub(_masked_user, text))


def _masked_user(word: re.Match[str]) -> str:
    """A word without the text between a scheme and the last ``@``: a password may contain an unescaped slash or
    question mark."""
    url = word[0]
    begin, end = url.find("://") + 3, url.rfind("@")
    return f"{url[:begin]}{MASK}{url[end:]}" if 3 <= begin <= end else url


def _masked_value(query: re.Match[str]) -> str:
    return f"{query[1]}{query[2]}={MASK}" if _NAME.search(query[2]) else query[0]


def masked_servers(servers: str) -> str:
    """Servers separated by commas, without user and password before an ``@``.

    Examples
    --------
    >>> masked_servers("me:pw@a:9092,b:9092")
    '***@a:9092,b:9092'
    """
    return ",".join(MASK + one[one.rindex("@") :] if "@" in one else one for one in servers.split(","))
