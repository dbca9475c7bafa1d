"""Decodes records whose form a schema registry knows: Avro, Protobuf and JSON Schema become the JSON that others read.

Such a record begins with a zero byte and the number of its schema, as Confluent's serializers write it; any other is
left as it is. While the registry cannot be asked, reading waits. Knows the registry and its formats; nothing of what a
record means. The libraries are those of the extra ``registry``.
"""

import asyncio
import base64
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from cachetools import LRUCache, TTLCache

from streams.config import KafkaConfig
from streams.events.decode import Refusal, refuse
from streams.kafka.record import Record
from streams.runtime.tasks import Backoff

log = logging.getLogger(__name__)

HEAD = 5
"""Bytes before the content: a zero byte and the schema's number."""

MOST_DECIMAL = 64
"""Bytes of an Avro decimal, at most: 154 digits."""

MOST_SCHEMAS = 1_000
UNKNOWN_S = 60.0
"""How long a number without a usable schema is not asked for again."""

LONGEST_WAIT_S = 10.0
TIMEOUT_S = 5.0
NO_SCHEMA = 40_403
"""The registry's own code for a number that it does not know; a plain 404 may be another server's."""

_encoder = msgspec.json.Encoder(decimal_format="number")

Decode = Callable[[bytes], bytes]
"""Makes JSON of a record's content; raises anything."""


class SchemaError(ValueError):
    """A schema that records cannot be decoded with; the message says why."""


class SchemaDecoder:
    """Decodes the records of a role; the schemas are asked for once.

    Parameters
    ----------
    kafka
        Names the registry; without one all records are left as they are.

    Attributes
    ----------
    paused
        Why reading waits for the registry; empty where it does not.

    Examples
    --------
    >>> records = [Record("shop.events", 0, 0, 0, None, b"\\\\0\\\\0\\\\0\\\\0\\\\7binary")]
    >>> asyncio.run(SchemaDecoder(KafkaConfig()).decoded(records)) is records
    True
    """

    def __init__(self, kafka: KafkaConfig) -> None:
        self.paused = ""
        self._registry = None if kafka.schema_registry_url is None else _Registry(kafka)
        self._schemas: LRUCache[int, Decode] = LRUCache(MOST_SCHEMAS)
        self._unusable: TTLCache[int, Refusal] = TTLCache(MOST_SCHEMAS, UNKNOWN_S)

    async def decoded(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records as JSON; those that cannot be decoded say why. Waits while the registry cannot be asked."""
        if self._registry is None:
            return records
        return [await self._one(one, self._registry) if (one.value or b"")[:1] == b"\0" else one for one in records]

    async def _one(self, record: Record, registry: "_Registry") -> Record:
        raw = record.value or b""
        if len(raw) < HEAD:
            return replace(record, refusal=refuse("malformed", f"{len(raw)} bytes do not name a schema"))
        decode = await self._schema(int.from_bytes(raw[1:HEAD]), registry)
        if isinstance(decode, Refusal):
            return replace(record, refusal=decode)
        try:
            return replace(record, value=decode(raw[HEAD:]), raw=raw)
        except Exception as error:  # each library raises what it likes for bytes that are none of its own
            return replace(record, refusal=refuse("malformed", f"not of its schema: {type(error).__name__}: {error}"))

    async def _schema(self, number: int, registry: "_Registry") -> Decode | Refusal:
        if (known := self._schemas.get(number) or self._unusable.get(number)) is not None:
            return known
        backoff = Backoff(LONGEST_WAIT_S)
        while True:
            found = await asyncio.to_thread(registry.schema, number)
            if not isinstance(found, str):
                break
            if not self.paused:
                log.error("schema %d cannot be asked for: %s; reading waits, and nothing is lost", number, found)
            self.paused = found
            await asyncio.sleep(backoff.next())
        if self.paused:
            log.warning("the schema registry answers again")
            self.paused = ""
        if isinstance(found, Refusal):
            self._unusable[number] = found
        else:
            self._schemas[number] = found
        return found


class _Registry:
    """Asks the registry, with its own client, and makes decoders of schemas."""

    def __init__(self, kafka: KafkaConfig) -> None:
        from confluent_kafka.schema_registry import SchemaRegistryClient

        assert kafka.schema_registry_url is not None
        options = {"url": kafka.schema_registry_url.get_secret_value(), "timeout": TIMEOUT_S, "max.retries": 0}
        if kafka.ca_file is not None:
            options["ssl.ca.location"] = kafka.ca_file
        # Two, since a client remembers a schema by its number, whatever form it was asked for in.
        self._texts, self._serialized = SchemaRegistryClient(options), SchemaRegistryClient(options)

    def schema(self, number: int) -> Decode | Refusal | str:
        """The decoder of a schema; why there is none; or, as text, why the registry cannot be asked now. Blocks."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            schemas = self._asked(number)
        except SchemaRegistryError as error:
            if error.error_code == NO_SCHEMA:
                return refuse("schema", f"the schema registry has no schema {number}")
            return f"the schema registry refuses: {error}"
        except Exception as error:  # of whatever library the client connects with
            return f"the schema registry does not answer: {type(error).__name__}: {error}"
        try:
            return _decoder(schemas)
        except Exception as error:
            return refuse("schema", f"schema {number} cannot be used: {type(error).__name__}: {error}")

    def _asked(self, number: int) -> list[Any]:
        """A schema, the last, and before it those that it refers to."""
        client, schema = self._texts, self._texts.get_schema(number)
        options = {}
        if schema.schema_type == "PROTOBUF":  # as a descriptor that the registry has compiled
            client, options = self._serialized, {"fmt": "serialized"}
            schema = client.get_schema(number, **options)
        return [*self._referred(client, schema, options), schema]

    def _referred(self, client: Any, schema: Any, options: dict[str, str]) -> Iterator[Any]:
        for reference in schema.references or ():
            found = client.get_version(reference.subject, reference.version, **options).schema
            yield from self._referred(client, found, options)
            yield found


def _decoder(schemas: Sequence[Any]) -> Decode:
    kind = schemas[-1].schema_type or "AVRO"
    if kind == "JSON":
        return bytes
    texts = [one.schema_str for one in schemas]
    if kind == "PROTOBUF":
        return _protobuf([base64.b64decode(text, validate=True) for text in texts])
    if kind == "AVRO":
        return _avro([json.loads(text) for text in texts])
    raise SchemaError(f"it is {kind}, and Avro, Protobuf and JSON Schema are read")


def _avro(schemas: Sequence[Any]) -> Decode:
    from fastavro import parse_schema, schemaless_reader
    from fastavro.read import LOGICAL_READERS as READERS

    for kind in ("bytes-decimal", "fixed-decimal"):
        if not isinstance(READERS[kind], partial):
            READERS[kind] = partial(_bounded_decimal, READERS[kind])
    named: dict[str, Any] = {}
    parsed = [parse_schema(one, named_schemas=named) for one in schemas][-1]
    _takes_nothing(parsed, named, {})

    def decode(content: bytes) -> bytes:
        stream = io.BytesIO(content)
        found = schemaless_reader(stream, parsed, None)
        if left := len(content) - stream.tell():
            raise ValueError(f"{left} bytes are left")
        return _encoder.encode(found)

    return decode


def _bounded_decimal(read: Callable[..., Any], value: bytes, *schemas: Any) -> Any:
    """A decimal as fastavro's own function reads it, in a time that grows with the square of its length: of a megabyte,
    minutes.

    Raises
    ------
    ValueError
        When it is longer than any number of an event.
    """
    if len(value) > MOST_DECIMAL:
        raise ValueError(f"a decimal of {len(value)} bytes; the limit is {MOST_DECIMAL}")
    return read(value, *schemas)


def _takes_nothing(schema: Any, named: Mapping[str, Any], known: dict[str, bool | None]) -> bool:
    """Whether a value of a parsed Avro schema takes no bytes; ``known`` are the answers so far, by the record's name.

    Raises
    ------
    SchemaError
        When a few bytes could be a value without bounds: deeper than fastavro's stack, which ends the process, or an
        array larger than memory.

    Examples
    --------
    >>> _takes_nothing("null", {}, {}), _takes_nothing({"type": "map", "values": "null"}, {}, {})
    (True, False)
    """

    def within(one: Any) -> bool:
        return _takes_nothing(one, named, known)

    if isinstance(schema, list):
        return not [within(one) for one in schema]
    if isinstance(schema, str):
        return within(named[schema]) if schema in named else schema == "null"
    kind = schema["type"]
    if kind == "array":
        if within(schema["items"]):
            raise SchemaError("the elements of an array take no bytes, so that there is no limit to how many there are")
        return False
    if kind == "map":
        within(schema["values"])
        return False
    if kind in ("enum", "fixed"):
        return bool(schema.get("size") == 0)
    if kind not in ("record", "error"):
        return within(kind)
    name = schema["name"]
    if name not in known:
        known[name] = None
        fields = [within(one["type"]) for one in schema["fields"]]
        known[name] = all(fields)
    if (found := known[name]) is None:
        raise SchemaError(f"{name} contains itself, so that there is no limit to how deep a record is")
    return found


def _protobuf(files: Sequence[bytes]) -> Decode:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    for one in files:
        _add(pool, one)
    file = pool.FindFileByName(descriptor_pb2.FileDescriptorProto.FromString(files[-1]).name)
    kinds = list(file.message_types_by_name.values())

    def decode(content: bytes) -> bytes:
        (place, *path), begin = _message_path(content)
        kind = kinds[place]
        for place in path:
            kind = kind.nested_types[place]
        message = message_factory.GetMessageClass(kind)()
        message.ParseFromString(content[begin:])
        return _encoder.encode(_fields(message))

    return decode


def _add(pool: Any, serialized: bytes) -> None:
    """Add a file to a pool, and before it those of Google's own that it imports."""
    from google.protobuf import descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

    known = {one.DESCRIPTOR.name: one.DESCRIPTOR for one in (duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)}
    for name in descriptor_pb2.FileDescriptorProto.FromString(serialized).dependency:
        if name in known:
            pool.AddSerializedFile(known[name].serialized_pb)
    pool.AddSerializedFile(serialized)


def _message_path(content: bytes) -> tuple[list[int], int]:
    """Which message of the file it is, by places, and where its bytes begin.

    Examples
    --------
    >>> _message_path(bytes([0, 9])), _message_path(bytes([4, 2, 0]))
    (([0], 1), ([1, 0], 3))
    """
    count, at = _varint(content, 0)
    path = []
    for _ in range(count):
        place, at = _varint(content, at)
        if place < 0:
            raise ValueError(f"place {place} names no message")
        path.append(place)
    return path or [0], at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number in zigzag form, and where the next begins."""
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if not byte & 128:
            return (number >> 1) ^ -(number & 1), at
        if shift > 28:
            raise ValueError("a number of more than five bytes names the message")


def _fields(message: Any) -> dict[str, Any]:
    """The fields of a message: numbers stay numbers, names of enumerations texts. A field without presence that holds
    its default counts as its value, but empty texts, lists and maps as missing."""
    from google.protobuf import json_format

    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.has_presence and not message.HasField(field.name):
            continue

        def plain(one: Any, field: Any = field) -> Any:
            if field.enum_type is not None:
                known = field.enum_type.values_by_number.get(one)
                return known.name if known is not None else one
            if field.message_type is None:
                return one
            return json_format.MessageToDict(one) if _googles(field.message_type) else _fields(one)

        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"]
            value = {str(name): plain(value[name], inner) for name in value}
        elif field.is_repeated:
            value = [plain(one) for one in value]
        else:
            value = plain(value)
        if field.has_presence or value not in ("", [], {}, b""):
            found[field.name] = value
    return found


def _googles(kind: Any) -> bool:
    return str(kind.full_name).startswith("google.protobuf.")
