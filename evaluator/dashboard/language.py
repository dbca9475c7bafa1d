"""The page in a language: which one a request asks for, the page's HTML in it, and the sentences of answers.

Knows requests and the catalogue; nothing of what the page shows.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from markupsafe import Markup
from starlette.requests import Request

from evaluator.translations import LANGUAGES, TAGS, Language, live, preferred, read

COOKIE = "liveshelf_language"
"""The reader's choice; the page's switch sets it."""

SENTENCES = {
    "decision",
    "emptied",
    "ended",
    "error",
    "held_back",
    "reason",
    "said",
    "sentence",
    "summary",
    "trigger",
    "trouble",
    "verdict_sentence",
}
"""Fields of answers that hold finished sentences."""

_TEXTS = re.compile(r"""(?<=>)[^<>]+(?=<)|(?<= title=")[^"]+|(?<=aria-label=")[^"]+""")
"""Texts of the page's HTML, and its attributes that people read."""


def language_of(request: Request) -> Language:
    """The language of ``?lang=``, else of the reader's choice, else of ``Accept-Language``, else English."""
    asked = request.query_params.get("lang"), request.cookies.get(COOKIE), request.headers.get("accept-language")
    return next((found for one in asked if (found := preferred(one or "")) is not None), "en")


@cache
def page(language: Language, currency: str | None) -> bytes:
    """The page's HTML, with its scripts' sentences; for the scripts, the shop's currency."""
    html = files("evaluator.dashboard").joinpath("static", "index.html").read_text("utf-8")
    root = f'<html lang="{TAGS[language]}"' + (f' data-currency="{currency}"' if currency else "")
    if language != "en":
        tables = read("evaluator", "sentences.toml")
        html = _TEXTS.sub(lambda text: _translated(text[0], tables["page"]), html)
        known = msgspec.json.encode({**tables["names"], **tables["page"]}).decode().replace("<", "\\u003c")
        html = html.replace(">{}<", f">{known}<", 1)
    return html.replace('<html lang="en"', root, 1).encode()


def _translated(text: str, known: dict[str, str]) -> str:
    """A text of the page; what stands around it stays."""
    bare = text.strip()
    return text.replace(bare, Markup.escape(known[bare])) if bare in known else text


def localised(value: Any, language: Language) -> Any:
    """An answer as plain values, the sentences in it in a language."""
    if language == "en":
        return value
    return _localised(msgspec.to_builtins(value), language)


def _localised(value: Any, language: Language) -> Any:
    if isinstance(value, dict):
        return {
            name: live().say(one, language) if name in SENTENCES and isinstance(one, str) else _localised(one, language)
            for name, one in value.items()
        }
    return [_localised(one, language) for one in value] if isinstance(value, list | tuple) else value


def by_language(value: Any) -> dict[Language, bytes]:
    """An answer as JSON in each language."""
    return {language: msgspec.json.encode(localised(value, language)) for language in LANGUAGES}
