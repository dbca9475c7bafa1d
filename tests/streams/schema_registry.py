"""A schema registry for the tests: a small HTTP server with the calls that readers make, and records as producers frame
them."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fastavro import schemaless_writer
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

CLICK: dict[str, Any] = {
    "type": "record",
    "name": "Click",
    "namespace": "shop",
    "fields": [
        {"name": "type", "type": {"type": "enum", "name": "Kind", "symbols": ["click", "read"]}},
        {"name": "event_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "user_id", "type": ["null", "string"], "default": None},
        {"name": "item_id", "type": "string"},
        {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}]},
    ],
}


class SchemaRegistry:
    """What it knows, by number and by subject and version; ``status`` other than 200 is answered instead.

    Attributes
    ----------
    asked
        The paths that were asked for.
    """

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.versions: dict[tuple[str, int], dict[str, Any]] = {}
        self.status, self.asked, self.port = 200, list[str](), 0

    def put(self, number: int, schema: str, kind: str = "AVRO", references: list[dict[str, Any]] | None = None) -> None:
        """Register a schema; of Protobuf its descriptor as text of base 64."""
        self.schemas[number] = {"schema": schema, "schemaType": kind, "references": references or []}

    def answer(self, path: str) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        self.asked.append(path)
        parts, _, query = path.partition("?")
        if self.status != 200:
            return self.status, {"error_code": self.status, "message": "as told"}
        match parts.strip("/").split("/"):
            case ["schemas", "ids", number] if int(number) in self.schemas:
                found = self.schemas[int(number)]
                text = found["schema"] if found["schemaType"] != "PROTOBUF" or "serialized" in query else "syntax"
                return 200, found | {"schema": text}
            case ["subjects", subject, "versions", version] if (subject, int(version)) in self.versions:
                schema = self.versions[subject, int(version)]
                return 200, {"subject": subject, "version": int(version), "id": 900 + int(version), **schema}
            case ["schemas", "ids", _]:
                return 404, {"error_code": 40403, "message": "Schema not found"}
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serve until the end of the block, on the same port each time; gives the address."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, told = registry.answer(self.path)
                body = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Not to the terminal."""

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{self.port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def framed(number: int, content: bytes) -> bytes:
    """A record's value, as Confluent's serializers write it."""
    return b"\0" + number.to_bytes(4) + content


def avro(schema: dict[str, Any], fields: dict[str, Any]) -> bytes:
    """Fields in Avro."""
    stream = io.BytesIO()
    schemaless_writer(stream, schema, fields)
    return stream.getvalue()


Field = descriptor_pb2.FieldDescriptorProto


def click_file() -> descriptor_pb2.FileDescriptorProto:
    """A file of Protobuf with two messages: ``Other``, and ``Click`` with a time, a nested list, a map and an enum."""
    file = descriptor_pb2.FileDescriptorProto(name="click.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    file.enum_type.add(name="Kind").value.add(name="impression", number=0)
    file.message_type.add(name="Other").field.add(name="a", number=1, type=Field.TYPE_STRING, label=1)
    shown = file.message_type.add(name="Shown")
    shown.field.add(name="item_id", number=1, type=Field.TYPE_STRING, label=1)
    shown.field.add(name="position", number=2, type=Field.TYPE_INT64, label=1)
    kind = file.message_type.add(name="Impression")
    for number, (name, what) in enumerate(
        {"event_id": 9, "user_id": 9, "session_id": 9, "shelf_id": 9, "surface": 9}.items(), 1
    ):
        kind.field.add(name=name, number=number, type=what, label=1)
    kind.field.add(name="type", number=6, type=Field.TYPE_ENUM, label=1, type_name=".shop.Kind")
    kind.field.add(name="ts", number=7, type=Field.TYPE_MESSAGE, label=1, type_name=".google.protobuf.Timestamp")
    kind.field.add(name="items", number=8, type=Field.TYPE_MESSAGE, label=3, type_name=".shop.Shown")
    entry = kind.nested_type.add(name="MoreEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=Field.TYPE_STRING, label=1)
    entry.field.add(name="value", number=2, type=Field.TYPE_DOUBLE, label=1)
    kind.field.add(name="more", number=9, type=Field.TYPE_MESSAGE, label=3, type_name=".shop.Impression.MoreEntry")
    return file


def base64_of(file: descriptor_pb2.FileDescriptorProto) -> str:
    """A file as a registry gives it."""
    return base64.b64encode(file.SerializeToString()).decode()


def impression(**fields: Any) -> bytes:
    """A message of the file's third kind, with the places that name it before it."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(click_file().SerializeToString())
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Impression"))
    return bytes([2, 4]) + bytes(kind(**fields).SerializeToString())
