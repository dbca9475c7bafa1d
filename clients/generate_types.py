"""Writes the clients' types from the JSON Schemas in ``docs/schemas``: ``python clients/generate_types.py``.

Reads the part of JSON Schema that those use: objects, references, unions, lists, constants. What a type cannot say,
such as lengths, stays with the schemas.
"""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SCHEMAS = [ROOT / "docs" / "schemas" / name for name in ("event.json", "item.json", "shelf.json")]
PYTHON = ROOT / "clients" / "python" / "liveshelf_client" / "types.py"
TYPESCRIPT = ROOT / "clients" / "typescript" / "src" / "types.ts"

Schema = dict[str, Any]
_PLAIN = {
    "string": ("str", "string"),
    "integer": ("int", "number"),
    "number": ("float", "number"),
    "boolean": ("bool", "boolean"),
    "null": ("None", "null"),
}


def definitions() -> dict[str, Schema]:
    """All named types, those that others refer to first."""
    found: dict[str, Schema] = {}
    for path in SCHEMAS:
        whole = json.loads(path.read_text("utf-8"))
        for name, schema in whole.pop("$defs", {}).items():
            found[name] = schema
        found[whole["title"]] = whole
    return {name: found[name] for name in sorted(found, key=lambda name: (_depth(found, name), name))}


def _depth(known: dict[str, Schema], name: str) -> int:
    text = json.dumps(known[name])
    return 1 + max((_depth(known, other) for other in known if f'"#/$defs/{other}"' in text), default=0)


def python() -> str:
    """The module of Python."""
    parts = [
        '"""What is sent and read, as types; generated from the JSON Schemas by ``clients/generate_types.py``."""',
        "from typing import Any, Literal, NotRequired, TypedDict",
    ]
    for name, schema in definitions().items():
        if "properties" not in schema:
            parts.append(f"{name} = {_type(schema, 0)}\n{_text(schema, '')}".rstrip())
            continue
        lines = [f"class {name}(TypedDict):", _text(schema, "    ")]
        for field, one in schema["properties"].items():
            kind = _type(one, 0)
            lines.append(f"    {field}: {kind if field in schema['required'] else f'NotRequired[{kind}]'}")
        parts.append("\n".join(filter(None, lines)).replace('"""\n', '"""\n\n', 1))
    return "\n\n\n".join(parts).replace('``."""\n\n\nfrom', '``."""\n\nfrom') + "\n"


def _about(schema: Schema) -> str:
    """The first paragraph of a description."""
    return " ".join(schema.get("description", "").split("\n\n")[0].split())


def _text(schema: Schema, indent: str) -> str:
    about = _about(schema)
    if not about:
        return ""
    wrapped = textwrap.wrap(f'"""{about}', 120 - len(indent), initial_indent=indent, subsequent_indent=indent)
    if len(wrapped[-1]) <= 117:
        return "\n".join(wrapped) + '"""'
    return "\n".join([*wrapped, f'{indent}"""'])


def typescript() -> str:
    """The module of TypeScript."""
    parts = ["// What is sent and read, as types; generated from the JSON Schemas by clients/generate_types.py."]
    for name, schema in definitions().items():
        about = textwrap.wrap(_about(schema), 114)
        comment = ["/**", *(f" * {one}" for one in about), " */"] if about else []
        if "properties" not in schema:
            parts.append("\n".join([*comment, f"export type {name} = {_type(schema, 1)};"]))
            continue
        fields = [
            f"  {field}{'' if field in schema['required'] else '?'}: {_type(one, 1)};"
            for field, one in schema["properties"].items()
        ]
        parts.append("\n".join([*comment, f"export interface {name} {{", *fields, "}"]))
    return "\n\n".join(parts) + "\n"


def _type(schema: Schema, language: int) -> str:
    """A type's expression; ``language`` is 0 for Python and 1 for TypeScript."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        values = [json.dumps(one) for one in schema["enum"]]
        return (f"Literal[{', '.join(values)}]", " | ".join(values))[language]
    if "anyOf" in schema and "properties" not in schema:
        return " | ".join(dict.fromkeys(_type(one, language) for one in schema["anyOf"]))
    kind = schema.get("type")
    if kind == "array":
        inside = _type(schema["items"], language)
        return (f"list[{inside}]", f"Array<{inside}>")[language]
    if kind == "object":
        more = schema.get("additionalProperties")
        inside = _type(more, language) if isinstance(more, dict) else ("Any", "unknown")[language]
        return (f"dict[str, {inside}]", f"Record<string, {inside}>")[language]
    return _PLAIN[kind][language] if isinstance(kind, str) else ("Any", "unknown")[language]


WRITTEN: dict[Path, Callable[[], str]] = {PYTHON: python, TYPESCRIPT: typescript}

if __name__ == "__main__":
    for path, text in WRITTEN.items():
        path.write_text(text(), "utf-8")
