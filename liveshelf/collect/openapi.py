"""The collector's OpenAPI document, generated from the structs that decode requests and encode answers."""

from typing import Any, get_args

import msgspec

from liveshelf.collect.batch import Answer, Refused
from liveshelf.collect.config import CollectConfig
from liveshelf.collect.foreign import Shape
from liveshelf.collect.shelves import Question, Surface
from liveshelf.schemas import CONTRACT, components
from streams.events.schema import EVENT_TYPES

JSON, NDJSON, TEXT = "application/json", "application/x-ndjson", "text/plain"

Schema = dict[str, Any]


class Problem(msgspec.Struct, frozen=True):
    """Why a request was not answered, in a sentence."""

    error: str


class Forgotten(msgspec.Struct, frozen=True):
    """The wish to be forgotten is on its topic; the receipt on ``liveshelf.forgotten`` names this event."""

    event_id: str


class Health(msgspec.Struct, frozen=True):
    """Whether records are taken, and why not."""

    takes: bool
    problem: str | None


class Forgetting(msgspec.Struct, frozen=True):
    """Whom to forget; at least one of both."""

    user_id: str | None = None
    session_id: str | None = None


_FOREIGN: dict[str, tuple[str, ...]] = {
    "a call of Segment": ("event", "properties"),
    "calls of Segment": ("batch",),
    "a row of Google Analytics": ("event_name", "event_timestamp"),
    "a body of its Measurement Protocol": ("client_id", "events"),
    "an event of OpenSearch UBI": ("action_name", "timestamp"),
    "a query of OpenSearch UBI": ("user_query", "timestamp"),
}
"""What tells the shapes of other systems apart: what they must have."""

_REFUSALS = {
    "401": "No key, or none that is known.",
    "403": "A key without this right, or an origin that is not listed.",
    "408": "The body has not come in time.",
    "413": "The body is too large, or holds too many objects.",
    "415": "The format, the charset or the compression is not taken.",
    "421": "Without a key the server answers only to this machine's names.",
    "429": "Too many events; Retry-After says when to go on.",
    "503": "Kafka or Redis is away, or too much waits; Retry-After says when to send it again.",
}


def document(config: CollectConfig) -> Schema:
    """The document of a collector with these settings.

    Examples
    --------
    >>> found = document(CollectConfig())
    >>> found["openapi"], sorted(found["paths"])[:3]
    ('3.1.0', ['/events', '/forget', '/healthz'])
    """
    own: tuple[type[msgspec.Struct], ...] = (Answer, Refused, Problem, Forgotten, Health, Forgetting)
    _, ours = msgspec.json.schema_components(own, ref_template="#/components/schemas/{name}")
    known = components("#/components/schemas/{name}")
    schemas = dict(known)
    schemas["Event"] = {"anyOf": [_ref(kind.__name__) for kind in EVENT_TYPES]}
    schemas["Foreign"] = {
        "description": "With format: what another system sends. Its own documentation says more.",
        "type": "object",
        "anyOf": [{"title": title, "required": list(names)} for title, names in _FOREIGN.items()],
    }
    schemas["Forgetting"] = ours["Forgetting"] | {
        "anyOf": [{"required": [name], "properties": {name: _id(known)}} for name in ("user_id", "session_id")]
    }
    keys = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "query": {"type": "apiKey", "in": "query", "name": "key"},
    }
    found: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": "Liveshelf's collector",
            "version": CONTRACT,
            "description": "Events and items in, shelves out.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(config),
        "components": {"schemas": ours | schemas, "securitySchemes": keys},
    }
    if config.write_key is not None:
        found["security"] = [{name: []} for name in keys]
    return found


def _paths(config: CollectConfig) -> Schema:
    most = config.max_lines
    deleted = _parameter("id", "path", _id(components("{name}")), "The item.")
    shelf = [
        _parameter("surface", "path", {"enum": list(get_args(Surface))}, "Which kind of shelf."),
        _parameter(
            "id", "path", {"type": "string", "minLength": 1, "maxLength": 512}, (Question.__doc__ or "").strip()
        ),
        _parameter(
            "user", "query", {"type": "string", "minLength": 1, "maxLength": 512}, "Whom a search is ranked for."
        ),
        _parameter(
            "segment",
            "query",
            {"type": "string", "minLength": 1, "maxLength": 512},
            "The popular shelf to fall back to.",
        ),
        _parameter("filter", "query", {"type": "string"}, "A filter in its canonical form (docs/filters.md)."),
    ]
    shape = _parameter("format", "query", {"enum": list(get_args(Shape))}, "Whose shape the body has, if not our own.")
    events = _operation("events", "Send what shoppers do", _batch("Event", most, "Foreign"), _accepted(), [shape])
    items = _operation("items", "Send items", _batch("Item", most), _accepted())
    forget = _operation(
        "forget", "Have a shopper forgotten", _one("Forgetting"), _answers("Forgotten", "202", "Kafka has it.")
    )
    answers = _answers("Shelf", "200", "The shelf, or what to show instead.") | {
        "304": {"description": "As the ETag says it is known."},
        "404": _content("Problem", "There is no such shelf, nor one to show instead."),
    }
    health = {"200": _content("Health", "Records are taken."), "503": _content("Health", "They are not.")}
    return {
        "/events": {"post": events},
        "/items": {"post": items},
        "/items/{id}": {"delete": _operation("delete", "Delete an item", None, _accepted(), [deleted])},
        "/forget": {"post": forget},
        "/shelf/{surface}/{id}": {"get": _operation("shelf", "Read a shelf", None, answers, shelf)},
        "/healthz": {
            "get": {"operationId": "health", "summary": "Are records taken?", "security": [], "responses": health}
        },
    }


def _operation(name: str, summary: str, body: Schema | None, answers: Schema, parameters: Any = ()) -> Schema:
    refusals = {status: _content("Problem", about) for status, about in _REFUSALS.items()}
    found: Schema = {"operationId": name, "summary": summary, "responses": answers | refusals}
    if body is not None:
        found["requestBody"] = {"required": True, "content": body}
    return found | ({"parameters": list(parameters)} if parameters else {})


def _accepted() -> Schema:
    """Answers to a batch; a body that holds no objects at all is a problem of the whole."""
    none = {"anyOf": [_ref("Answer"), _ref("Problem")]}
    return _answers("Answer", "202", "Kafka has what is valid; the answer tells what was refused and why.") | {
        "400": {"description": "Nothing in it is valid.", "content": {JSON: {"schema": none}}}
    }


def _answers(name: str, status: str, about: str) -> Schema:
    return {status: _content(name, about), "400": _content("Problem", "What is asked cannot be understood.")}


def _batch(name: str, most: int, *others: str) -> Schema:
    one = {"anyOf": [_ref(each) for each in (name, *others)]} if others else _ref(name)
    array = {"type": "array", "items": one, "minItems": 1, "maxItems": most}
    lines = {"schema": {"type": "string", "description": f"One {name} a line, at most {most}."}}
    return {JSON: {"schema": {"anyOf": [*map(_ref, (name, *others)), array]}}, NDJSON: lines, TEXT: lines}


def _one(name: str) -> Schema:
    return {JSON: {"schema": _ref(name)}}


def _content(name: str, about: str) -> Schema:
    return {"description": about, "content": {JSON: {"schema": _ref(name)}}}


def _parameter(name: str, place: str, schema: Schema, about: str) -> Schema:
    return {"name": name, "in": place, "required": place == "path", "schema": schema, "description": about}


def _id(known: Schema) -> Schema:
    found: Schema = known["Item"]["properties"]["item_id"]
    return found


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
