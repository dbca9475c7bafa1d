"""Secrets out of whatever people may read: what is printed, logged, or told to others.

Pure: takes text, gives text. Knows how URLs carry secrets; nothing of any single setting.
"""

import re

MASK = "***"

_USER = re.compile(r"""(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s'"<>]*@""")
"""Up to the last ``@``: a password may hold a slash, or a question mark, that nobody has escaped."""
_NAMES = (
    r"[\w.%-]*(?:passw(?:or)?d|passphrase|token|secret|signature|credentials?|api[_-]?key|access[_-]?key)[\w.%-]*"
    r"|pwd|pass|key|sig|sas|auth"
)
_QUERY = re.compile(rf"""(?P<name>[?&;](?:{_NAMES})=)[^&;\s'"<>]+""", re.IGNORECASE)


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
    return _QUERY.sub(rf"\g<name>{MASK}", _USER.sub(rf"\g<scheme>{MASK}@", text))


def masked_servers(servers: str) -> str:
    """Servers separated by commas, without what stands before an ``@``.

    Examples
    --------
    >>> masked_servers("me:pw@a:9092,b:9092")
    '***@a:9092,b:9092'
    """
    return ",".join(MASK + one[one.rindex("@") :] if "@" in one else one for one in servers.split(","))
