"""Makes plain text of HTML: tags go, entities become letters, also where they were escaped twice.

Only what is an element of HTML is a tag, so ``a < b`` and ``<3`` stay. Takes time in proportion to the text. A parser
of whole documents would take ``x<y`` for a tag, and join or part words at the wrong tags.
"""

import html
import re

_BLOCKS = (
    "address|article|aside|blockquote|body|br|caption|center|colgroup|col|dd|details|dialog|dir|div|dl|dt|fieldset|"
    "figcaption|figure|footer|form|frameset|frame|h[1-6]|header|head|hgroup|hr|html|iframe|legend|link|li|main|menu|"
    "meta|nav|noscript|ol|optgroup|option|pre|p|section|select|summary|table|tbody|td|template|textarea|tfoot|thead|th|"
    "title|tr|ul|video"
)
_INLINE = (
    "abbr|acronym|applet|area|audio|a|basefont|base|bdi|bdo|big|button|b|canvas|cite|code|datalist|data|del|dfn|embed|"
    "em|font|img|input|ins|i|kbd|label|map|mark|meter|nobr|object|output|param|picture|progress|q|rp|rt|ruby|samp|slot|"
    "small|source|span|strike|strong|sub|sup|svg|s|time|track|tt|u|var|wbr"
)
# No alternative reads past the next "<", so the time is linear whatever the text.
_TAG = re.compile(rf"</?(?:({_BLOCKS})|{_INLINE})(?![\w:-])(?:(?>(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*)>|[^<>]*>)", re.I)
_UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)|<!doctype[^<>]*>|<\?xml[^<>]*>", re.I | re.S
)
_MAY_BE_UNSEEN = re.compile(r"<[!?]|<s[ct]|]]>", re.I)
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,31});")
_SPACES = re.compile(r"\s+")

ROUNDS = 3
"""How often text may have been escaped."""


def plain(text: str) -> str:
    """The text that a reader of the HTML sees, in one line if there were tags.

    Examples
    --------
    >>> plain("<p>Gold&nbsp;plated.</p><p>H<sub>2</sub>O</p>"), plain("&amp;lt;b&amp;gt;Tea &amp;amp; more")
    ('Gold plated. H2O', 'Tea & more')
    >>> plain("a < b, R&D, 5 <3"), plain("<script>alert(1)</script>Lamp<!-- no -->")
    ('a < b, R&D, 5 <3', 'Lamp')
    """
    if "<" not in text and "&" not in text:
        return text
    for _ in range(ROUNDS):
        before = text
        if "<" in text:
            text = _without_tags(text)
        if "&" in text:
            text = _ENTITY.sub(_letter, text)
        if text == before:
            break
    return text.replace("\u00a0", " ").strip()


def _without_tags(text: str) -> str:
    bare = _CDATA.sub(" ", _UNSEEN.sub(" ", text)) if _MAY_BE_UNSEEN.search(text) else text
    bare = _TAG.sub(_space, bare)
    return text if bare == text else _SPACES.sub(" ", bare).strip()


def _space(tag: re.Match[str]) -> str:
    return " " if tag[1] else ""


def _letter(entity: re.Match[str]) -> str:
    letter = html.unescape(entity[0])
    return " " if "\ud800" <= letter[0] <= "\udfff" or (letter[0] < " " and letter[0] not in "\t\n") else letter
