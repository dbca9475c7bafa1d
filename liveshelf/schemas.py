"""The contract as documents: JSON Schemas of all messages, and one AsyncAPI document of all topics.

Generated from the structs that decode messages, so the documents match the code. Knows structs and topics; nothing of
brokers.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streams.config import TopicsConfig
from streams.events.receipt import Receipt
from streams.events.schema import EVENT_TYPES, SEGMENT, SEGMENT_LETTERS, Event, Item, Search
from streams.events.shelf import Shelf, ShelfRecord
from streams.kafka.topics import Topics, plan

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JSON = "application/json"
CONTRACT = "1.0.0"
"""The contract's own version: the first number changes when a shop must change something."""
RFC3339 = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])$"
)
_SHOPPER = [
    {"required": [name], "properties": {name: {"type": "string"}}, "title": f"with {name}"}
    for name in ("user_id", "session_id")
]
_ASKED = [
    {"required": ["query"], "properties": {"query": {"type": "string", "pattern": r"\S"}}, "title": "with a query"},
    {
        "required": ["filters"],
        "properties": {"filters": {"type": "object", "minProperties": 1}},
        "title": "with filters",
    },
]

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Channel:
    """What a topic carries: its key in words, and the structs of its values, if they are Liveshelf's JSON."""

    topic: str
    key: str
    about: str
    values: Sequence[type[msgspec.Struct]] = ()
    content: str = JSON
    produced_by: str = "Liveshelf"


def channels(topics: Topics) -> list[Channel]:
    """All topics of the system."""
    return [
        Channel(
            topics.items, "item_id", "Item upserts; a null value deletes the item.", (Item,), produced_by="the shop"
        ),
        Channel(topics.events, "user_id, else session_id", "Every shopper event.", EVENT_TYPES, produced_by="the shop"),
        Channel(
            topics.shelves,
            "user_id or session_id, else the shelf's Redis key",
            "Every shelf written: what was shown, by which model and arm, with scores and propensities.",
            (ShelfRecord,),
        ),
        Channel(topics.examples, "shelf_id", "Labelled examples, once their attribution window has closed."),
        Channel(
            topics.embeddings,
            "item_id and the encoder's version, a zero byte between them",
            "Encoded items, once for each encoder version in use; a null value deletes. An item's records are in one "
            "partition, which its item_id alone chooses. Liveshelf's own, and may change.",
            content="application/msgpack",
        ),
        Channel(topics.models, "slot", "Which version is champion and challenger, and at what share."),
        Channel(topics.metrics, "name of the role", "Snapshots of what every role measures of itself."),
        Channel(topics.alerts, "name of the alert", "Alerts, firing and resolved."),
        Channel(
            topics.dead_letters,
            "source topic:partition",
            "What could not be read, whole; headers: reason, detail, topic, partition, offset, timestamp, key, "
            "and no-value where the record had none.",
            content="application/octet-stream",
        ),
        Channel(
            topics.forgotten,
            "user_id, else session_id",
            "Receipts of shoppers that were forgotten; trainers drop their examples.",
            (Receipt,),
        ),
        Channel(
            topics.skipped,
            "topic:partition:offset",
            "Batches that nobody can read and that an operator had stepped over. Liveshelf's own, and may change.",
        ),
    ]


def components(reference: str) -> dict[str, Schema]:
    """The schema of every struct, by name; they refer to each other by ``reference``, e.g. ``#/$defs/{name}``."""
    structs = (*EVENT_TYPES, Item, Shelf, ShelfRecord, Receipt)
    _, schemas = msgspec.json.schema_components(structs, ref_template=reference)
    for kind in EVENT_TYPES:
        schemas[kind.__name__] |= {"anyOf": _SHOPPER}
    segment = {"type": ["string", "null"], "maxLength": SEGMENT_LETTERS, "pattern": r"\S"}
    schemas["Profile"]["properties"]["attributes"]["properties"] = {SEGMENT: segment}
    schemas[Search.__name__] |= {"allOf": [{"anyOf": _ASKED}]}
    _refine_times(schemas)
    return schemas


def document(*kinds: type[msgspec.Struct]) -> Schema:
    """A self-contained JSON Schema of one struct, or of any of several.

    Examples
    --------
    >>> from streams.events.schema import Click
    >>> document(Click)["required"]
    ['type', 'event_id', 'ts', 'item_id']
    """
    schemas = components("#/$defs/{name}")
    if len(kinds) == 1:
        top = dict(schemas[kinds[0].__name__])
    else:
        top = {"title": "Event", "anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]}
    needed = _referred(top, schemas)
    return {"$schema": DIALECT} | top | ({"$defs": {name: schemas[name] for name in sorted(needed)}} if needed else {})


def asyncapi() -> Schema:
    """The AsyncAPI 3.0 document of all topics."""
    config = TopicsConfig()
    planned = plan(config)
    schemas = components("#/components/schemas/{name}")
    described: dict[str, Schema] = {}
    operations: dict[str, Schema] = {}
    messages: dict[str, Schema] = {}
    for channel in channels(Topics(config.prefix)):
        named = _messages(channel)
        messages |= named
        name = channel.topic.replace(".", "_").replace("-", "_")
        settings = planned[channel.topic]
        described[name] = {
            "address": channel.topic,
            "description": f"{channel.about} Key: {channel.key}.",
            "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in named},
            "bindings": {
                "kafka": {
                    "topic": channel.topic,
                    "partitions": settings["num_partitions"],
                    "replicas": settings["replication_factor"],
                    "topicConfiguration": _binding(settings["configs"]),
                    "bindingVersion": "0.5.0",
                }
            },
        }
        operations[f"{'receive' if channel.produced_by == 'the shop' else 'send'}_{name}"] = {
            "action": "receive" if channel.produced_by == "the shop" else "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": f"Produced by {channel.produced_by}.",
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Liveshelf",
            "version": CONTRACT,
            "description": "Shop events and items in, ranked shelves out. Names and partitions are the defaults; a "
            "prefix and other numbers are settings.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "channels": described,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def files() -> dict[str, Schema]:
    """Every document by its file's name."""
    named: dict[str, Schema] = {f"{kind.__struct_config__.tag}.json": document(kind) for kind in EVENT_TYPES}
    named |= {"event.json": document(*EVENT_TYPES), "item.json": document(Item)}
    named |= {"shelf.json": document(Shelf), "shelf-record.json": document(ShelfRecord)}
    named["receipt.json"] = document(Receipt)
    return named | {"asyncapi.json": asyncapi()}


def text(schema: Schema) -> str:
    """The text of a document."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> list[Path]:
    """Write all documents into a folder, created if missing; ``liveshelf schemas`` calls this.

    Returns
    -------
    list of Path
        The written files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, schema in sorted(files().items()):
        path = folder / name
        path.write_text(text(schema), "utf-8")
        written.append(path)
    return written


def _messages(channel: Channel) -> dict[str, Schema]:
    if not channel.values:
        name = channel.topic.rpartition(".")[2].replace("-", "_")
        return {name: {"name": name, "contentType": channel.content, "summary": channel.about}}
    key = {"type": "string", "description": channel.key}
    return {
        kind.__name__: {
            "name": str(kind.__struct_config__.tag) if issubclass(kind, Event) else kind.__name__.lower(),
            "contentType": channel.content,
            "summary": (kind.__doc__ or "").strip().splitlines()[0],
            "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
            "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
        }
        for kind in channel.values
    }


def _binding(configs: dict[str, str]) -> Schema:
    binding: Schema = {"cleanup.policy": [configs["cleanup.policy"]]}
    numbers = {name: int(value) for name, value in configs.items() if value.isdigit()}
    return binding | numbers


def _refine_times(node: Any) -> None:
    """Add a pattern where there is a ``format``: most validators do not check formats."""
    if isinstance(node, dict):
        if node.get("format") == "date-time":
            node["pattern"] = RFC3339
        node.pop("discriminator", None)
        for value in node.values():
            _refine_times(value)
    elif isinstance(node, list):
        for value in node:
            _refine_times(value)


def _referred(node: Any, schemas: dict[str, Schema]) -> set[str]:
    found: set[str] = set()
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            name = str(here.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(schemas[name])
            waiting.extend(here.values())
        elif isinstance(here, list):
            waiting.extend(here)
    return found
