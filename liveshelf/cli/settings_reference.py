"""All settings as a page of Markdown: ``liveshelf config --markdown``, and ``docs/settings.md``.

Made from the settings' classes alone: knows no file and no environment, and shows defaults, not the values in force.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr

from liveshelf.settings import PREFIX, WELL_KNOWN, Settings

Schema = Mapping[str, Any]

GUIDES = {
    "kafka": "stack.md#your-own-servers",
    "redis": "redis.md#one-server-a-cluster-or-sentinels",
    "topics": "stack.md#your-own-servers",
    "events": "events.md#limits",
    "state": "redis.md#liveshelfs-own-state",
    "bots": "attribution.md#suspected-bots",
    "candidates": "candidates.md",
    "policy": "policy.md",
    "shelf": "redis.md#how-long-and-which-one-wins",
    "model": "worker.md#versions-and-switching",
    "worker": "worker.md",
    "catalogue": "worker.md#snapshots-of-the-catalogue",
    "metrics": "metrics.md",
    "stack": "stack.md#settings",
    "evaluator": "evaluator.md",
    "alerts": "alerts.md",
    "dashboard": "dashboard.md#who-may-see-it",
    "collect": "collect.md#settings",
    "examples": "learning.md",
    "triggers": "learning.md",
    "learning": "learning.md",
    "gate": "gate.md#the-checks",
    "rollout": "rollout.md",
}
"""The page that explains a group, by the group's name."""

INTRODUCTION = f"""# Settings

`liveshelf config --markdown` writes this page from the classes of the settings; a test keeps it current.

A setting is read from an environment variable, or from `liveshelf.toml` in the working directory
(`{PREFIX}CONFIG` names another file). The environment comes first. `{PREFIX}WORKER__BATCH_EVENTS=32` is the same
as `batch_events = 32` under `[worker]` in the file. Lists and mappings in the environment are JSON. An unknown name is
an error. `liveshelf config` prints the values in force.
"""


def reference() -> str:
    """The page."""
    schema = Settings.model_json_schema()
    shorthand = {"__".join(path): name for name, path in WELL_KNOWN.items()}
    parts = [INTRODUCTION]
    for group, field in schema["properties"].items():
        kind = _resolved(field, schema)
        parts.append(f"## `[{group}]`\n\n{_text(kind['description'])}\n\nMore: [{_title(group)}]({GUIDES[group]}).\n")
        parts.append("\n".join(_table(group, kind, schema, shorthand)) + "\n")
    return "\n".join(parts)


def _table(group: str, kind: Schema, schema: Schema, shorthand: Mapping[str, str]) -> Iterator[str]:
    defaults = Settings.model_fields[group].default
    values = defaults.model_dump(mode="json")
    yield "| variable | default | value |"
    yield "|---|---|---|"
    for name, field in kind["properties"].items():
        also = shorthand.get(f"{group}__{name}")
        variable = f"`{PREFIX}{group}__{name}`".upper() + (f" or `{also}`" if also else "")
        about = f" {_text(field['description'])}" if "description" in field else ""
        secret = getattr(defaults, name)
        value = secret.get_secret_value() if isinstance(secret, SecretStr) else values[name]
        yield f"| {variable} | {_default(value)} | {_values(field, schema)}{about} |"


def _default(value: Any) -> str:
    if value is None or value == "":
        return "none"
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`"


def _values(field: Schema, schema: Schema) -> str:
    """The allowed values, in words."""
    field = _resolved(field, schema)
    if "anyOf" in field:
        return " or ".join(_values(one, schema) for one in field["anyOf"] if one.get("type") != "null")
    if "enum" in field or "const" in field:
        return ", ".join(f"`{one}`" for one in field.get("enum", [field.get("const")]))
    match field["type"]:
        case "array":
            return f"list of {_values(field['items'], schema)}"
        case "object":
            return "mapping of names to numbers"
        case "boolean":
            return "`true` or `false`"
        case "integer" | "number":
            return " ".join([{"integer": "whole number", "number": "number"}[field["type"]], *_bounds(field)])
    text = {"password": "secret", "path": "path", "uri": "URL"}.get(field.get("format", ""), "text")
    return f"{text} of {field['minLength']} characters or more" if field.get("minLength", 0) > 1 else text


def _bounds(field: Schema) -> Iterator[str]:
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    limits = [
        f"{word} {bound:,g}" if bound < 10**6 else f"{word} {bound:,.0f}"
        for word, bound in (("from", low), ("above", above), ("to", high), ("below", below))
        if bound is not None
    ]
    if limits:
        yield " ".join(limits)


def _resolved(field: Schema, schema: Schema) -> Schema:
    name = field.get("$ref", "").rpartition("/")[2]
    return schema["$defs"][name] | {key: value for key, value in field.items() if key != "$ref"} if name else field


def _text(docstring: str) -> str:
    """A docstring as Markdown: one line, code between single backticks."""
    return " ".join(docstring.split()).replace("``", "`")


def _title(group: str) -> str:
    return GUIDES[group].partition(".")[0]
