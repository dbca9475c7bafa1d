"""Reads amounts of money as people and feeds write them: ``1.234,50 €`` in, a number and a currency out.

Own rules and not a library's: price-parser and Babel take ``1,234`` for 1234 or for 1.234, unsaid; here it is an error
unless the decimal mark is known. Knows nothing of items or files.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

Mark = Literal[".", ","]

_SIGNS = {
    "€": "EUR",
    "£": "GBP",
    "₹": "INR",
    "zł": "PLN",
    "kč": "CZK",
    "元": "CNY",
    "円": "JPY",
    "₩": "KRW",
    "₽": "RUB",
}
_AMOUNT = re.compile(
    r"(?P<before>[^\d\s.,+\-\u2212]{1,8})?\s*(?P<number>[+\-\u2212]?\s*[\d.,]*\d(?:[\d.,'\u2019\s]*\d)?)(?:[.,][-\u2013\u2014]{1,2})?"
    r"\s*(?P<after>[^\d\s.,]{1,8})?"
)
_GROUPED = re.compile(r"\d{1,3}(?:(?P<mark>[.,'\u2019 ])\d{2,3})*(?P=mark)\d{3}|\d{1,3}(?:([.,'\u2019 ])\d{3})|\d+")


def amount(text: str, decimal: Mark | None = None) -> tuple[float, str]:
    """The number, and the currency's code of three letters where it is there and known.

    Parameters
    ----------
    decimal
        The decimal mark. Without it, a mark that comes once counts as decimal, unless it is a comma before three
        digits.

    Raises
    ------
    ValueError
        When it is no amount, or ambiguous.

    Examples
    --------
    >>> amount("1.234,50 EUR"), amount("£9.99"), amount("1 299,00 zł"), amount("12,-")
    ((1234.5, 'EUR'), (9.99, 'GBP'), (1299.0, 'PLN'), (12.0, ''))
    >>> amount("1.299", ","), amount("1,234", ".")
    ((1299.0, ''), (1234.0, ''))
    >>> amount("1,234")
    Traceback (most recent call last):
    ValueError: '1,234' may be 1.234 or 1234: say which with --decimal
    """
    whole = unicodedata.normalize("NFKC", text).strip()
    found = _AMOUNT.fullmatch(whole) if len(whole) <= 64 else None
    if found is None or (found["before"] and found["after"]):
        raise ValueError(f"{text[:50]!r} is no amount")
    sign = (found["before"] or found["after"] or "").strip()
    code = sign.upper() if len(sign) == 3 and sign.isascii() and sign.isalpha() else _SIGNS.get(sign.lower(), "")
    return _number(re.sub(r"\s+", " ", found["number"]), decimal, text), code


def decimal_mark(texts: Iterable[str]) -> Mark | None:
    """The decimal mark of a column, by the values that leave no doubt; None where none does, or they differ.

    Examples
    --------
    >>> decimal_mark(["1.299", "12,50"]), decimal_mark(["1.299"]), decimal_mark(["12,50", "12.50"])
    (',', None, None)
    """
    found = {mark for text in texts if (mark := _evident(text))}
    return found.pop() if len(found) == 1 else None


def _evident(text: str) -> Mark | None:
    last = max(text.rfind("."), text.rfind(","))
    if last < 0 or text.count(text[last]) > 1:
        return None
    after = re.match(r"\d+", text[last + 1 :])
    other = "," if text[last] == "." else "."
    if after is None or (len(after[0]) == 3 and other not in text[:last]):
        return None
    return "." if text[last] == "." else ","


def _number(text: str, decimal: Mark | None, original: str) -> float:
    negative = text[0] in "-\u2212"
    text = text.lstrip("+-\u2212 ")
    marks = [letter for letter in text if letter in ".,"]
    mark: str | None = decimal
    if decimal is None and marks:
        if len(set(marks)) == 2:
            mark = marks[-1]
        elif len(marks) == 1:
            mark = marks[0]
            if mark == "," and re.search(r",\d{3}$", text) and not text.startswith("0,"):
                clear = text.replace(",", "")
                raise ValueError(
                    f"{original[:50]!r} may be {text.replace(',', '.')} or {clear}: say which with --decimal"
                )
    whole, _, fraction = text.rpartition(mark) if mark and mark in text else (text, "", "")
    if not _GROUPED.fullmatch(whole or "0") or (fraction and not fraction.isdecimal()):
        raise ValueError(f"{original[:50]!r} is no amount")
    value = float(re.sub(r"[.,'\u2019 ]", "", whole or "0") + "." + (fraction or "0"))
    return -value if negative else value
