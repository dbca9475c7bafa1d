"""Sentences whose figures stand apart from their words, so that a report can say them in another language.

Values only; knows nothing of languages.
"""

from collections.abc import Sequence
from typing import Union

import msgspec
import numpy as np

Value = Union[str, int, float, "Message"]


class Message(msgspec.Struct, frozen=True):
    """A sentence in English with fields as in :meth:`str.format`, and what stands in them.

    Attributes
    ----------
    text
        The sentence with its fields. It is also the key to its translations.
    values
        By the name of the field. Texts among them are translated too where they are known.

    Examples
    --------
    >>> found = Message("{share:.0%} of {what}", {"share": 0.25, "what": Message("{count:,} cases", {"count": 1_200})})
    >>> str(found)
    '25% of 1,200 cases'
    >>> msgspec.json.decode(msgspec.json.encode(found), type=Message) == found
    True
    """

    text: str
    values: dict[str, Value] = {}

    def __str__(self) -> str:
        return self.text.format(**self.values)


Text = str | Message
"""A sentence as it is, or with its figures apart."""


def said(text: str, /, **values: object) -> Message:
    """A message; numbers of numpy are taken as Python's.

    Examples
    --------
    >>> said("{n} cases", n=np.int64(3))
    Message(text='{n} cases', values={'n': 3})
    """
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    return Message(text, plain)  # type: ignore[arg-type]


def joined(some: Sequence[Text]) -> Text:
    """Several notes as one, parted by semicolons; empty for none.

    Examples
    --------
    >>> str(joined([said("{n} cases", n=3), "sampled", "by the seed"])), joined([])
    ('3 cases; sampled; by the seed', '')
    """
    found: Text = some[0] if some else ""
    for one in some[1:]:
        found = said("{one}; {other}", one=found, other=one)
    return found
