"""Says what a file is, and proposes how to read it: ``liveshelf import --guess FILE``.

Compares the names in the file's first records with those that presets read, and with words for our fields. Reads the
beginning only, and sends nothing.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from streams.config import EventsConfig
from streams.events.adapters import files, table
from streams.events.adapters.expression import columns, compiled
from streams.events.adapters.gate import Entry, Omission
from streams.events.adapters.mapping import MappingConfig, MappingError, load, presets
from streams.events.adapters.source import Source, SourceError
from streams.events.cleaning import SYNONYMS, TYPES, Notes
from streams.events.decode import Refusal

LOOKED_AT = 300
SHOWN = 3
ENOUGH = 0.6
"""The share of a preset's names that a file must have."""

WORDS = {
    "item_id": "item_id itemid product_id productid sku id article article_number artikelnummer asin upc ean "
    "gtin code variant_id handle ref reference 商品id 商品编号 编号 商品番号 商品コード",
    "title": "title name product_name productname item_name label titel bezeichnung nom libelle nombre "
    "titulo nome 商品名 名称 商品名称 标题",
    "description": "description desc body details long_description short_description beschreibung descripcion "
    "描述 商品説明",
    "category": "category categories product_type producttype department kategorie warengruppe categorie "
    "categoria 分类 类别 カテゴリ",
    "brand": "brand manufacturer vendor maker supplier marke hersteller marque marca 品牌 ブランド",
    "price": "price unit_price unitprice sale_price amount preis prix precio prezzo 价格 販売価格 价钱",
    "currency": "currency waehrung devise 币种",
    "in_stock": "in_stock instock availability available stock quantity inventory bestand lagerbestand 库存 "
    "在庫数 在庫",
    "group_id": "group_id item_group_id parent_id parent_sku product_group",
    "type": "type event event_type event_name action behavior behaviour interaction",
    "ts": "ts timestamp time datetime date event_time created_at occurred_at invoicedate order_date "
    "zeit datum 时间 日時",
    "user_id": "user_id userid customer_id customerid customer user shopper_id member_id client_id kunde "
    "kundennummer 用户id",
    "session_id": "session_id sessionid session visitor_id visitorid sess_id anonymous_id anonymousid cookie_id",
    "query": "query search_term searchterm search keyword q suchbegriff",
    "event_id": "event_id eventid message_id messageid uuid",
    "rating": "rating stars score note bewertung overall",
    "quantity": "quantity qty count menge 数量",
}
"""Names that others have for our fields, the likeliest first."""

CLUES = {"query": "=search", "rating": "=review", "quantity": "=purchase", "price": "=purchase"}
"""What events without a type are, by a field that they have."""

OF_ITEMS = ("item_id", "title", "description", "category", "brand", "price", "currency", "in_stock", "group_id")
OF_EVENTS = ("event_id", "type", "ts", "user_id", "session_id", "item_id", "query", "quantity", "price", "rating")


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a file seems to be.

    Attributes
    ----------
    preset : str or None
        The preset that fits; else ``fields`` maps columns.
    facts : dict of str to str
        How it is read.
    names : list of str
        The columns, or the names in its records.
    examples : list
        The first events or items, as they would become; refusals where there are no others.
    """

    kind: files.Kind
    preset: str | None
    fields: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    examples: list[Any] = field(default_factory=list)

    def command(self, file: str) -> str:
        """The command that imports the file so.

        Examples
        --------
        >>> Proposal("items", None, {"item_id": "sku", "title": "the name"}).command("a.csv")
        "liveshelf import items a.csv --map item_id=sku --map 'title=the name'"
        """
        parts = ["liveshelf", "import", self.kind, file]
        if self.preset:
            parts += ["--preset", self.preset]
        for option, pairs in (("--map", self.fields), ("--map-value", self.values)):
            for name, text in pairs.items():
                parts += [option, f"{name}={text}"]
        return " ".join(shlex.quote(part) for part in parts)


def propose(path: Path | str, now_ms: int, config: EventsConfig) -> Proposal:
    """What a file is, and how to read it.

    Raises
    ------
    SourceError
        When it cannot be read.
    MappingError
        When nothing in it can be read.
    """
    names, records, facts = _first(path)
    if facts["read as"].startswith("UBI"):
        fitting: tuple[str, files.Kind] | None = ("ubi", "events")
    else:
        fitting = _preset(names, records, 4 if facts["read as"].startswith("XML") else 6)
    if fitting is not None:
        name, kind = fitting
        proposal = Proposal(kind, name, facts=facts, names=names)
    else:
        proposal = _by_words(names, records, facts)
    mapping = load(
        proposal.preset,
        None,
        [f"{k}={v}" for k, v in proposal.fields.items()],
        [f"{k}={v}" for k, v in proposal.values.items()],
    )
    with Source(path, mapping.encoding) as source:
        try:
            entries = list(islice(files.read(source, proposal.kind, mapping, now_ms, config), LOOKED_AT))
        except SourceError:
            entries = []
    outcomes = [entry.outcome for entry in entries if not isinstance(entry.outcome, Omission)]
    good = [one for one in outcomes if not isinstance(one, Refusal)]
    proposal.examples.extend((good or outcomes)[:SHOWN])
    return proposal


def _first(path: Path | str) -> tuple[list[str], list[dict[str, Any]], dict[str, str]]:
    """The names in the first records, the records, and how they are read."""
    with Source(path) as source:
        form = files.guess(source)
        if form == "csv":
            dialect = table.detect(source.sample.decode("utf-8", "replace"))
            names = [name for name in table.header(source, MappingConfig(), dialect) if name]
            rows: Iterator[files.Row] = table.records(source, MappingConfig(), dialect)
            more = str(dialect)
        else:
            rows, names, more = files.rows_of(source, MappingConfig(), form), [], ""
        records = [row[1] for row in islice(rows, LOOKED_AT) if not isinstance(row, Entry)]
        notes = Notes()
        files.say(notes, source, form, more)
    counted = Counter(name for record in records for name in _paths(record))
    return names or [name for name, _ in counted.most_common(200)], records, notes.facts


def _paths(record: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[str]:
    for name, value in record.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict) and depth < 2:
            yield from _paths(value, f"{prefix}{name}.", depth + 1)


def _preset(names: list[str], records: list[dict[str, Any]], enough: int) -> tuple[str, files.Kind] | None:
    """The preset whose names the file has, the more the better: ``enough`` of them, or most."""
    best: tuple[float, int, str, files.Kind] | None = None
    for name in presets():
        mapping = load(name)
        wanted = mapping.columns()
        for rule in mapping.event:
            wanted |= {column.split("[")[0]: True for key in rule.when for column, _ in columns(key)}
        there = {mapping.name(one) for one in names}
        known = [column for column in wanted if column in there or _occurs(column, records)]
        needed = [column for column, must in wanted.items() if must]
        if not wanted or any(column not in known for column in needed) or mapping.kind is None:
            continue
        if mapping.event and not _applies(mapping, records):
            continue
        score = len(known) / len(wanted)
        fits = score == 1.0 if len(known) < 3 and mapping.event else score >= ENOUGH or len(known) >= enough
        if fits and (len(known) >= 3 or mapping.event) and (best is None or (len(known), score) > (best[1], best[0])):
            best = (score, len(known), name, mapping.kind)
    return None if best is None else (best[2], best[3])


def _occurs(column: str, records: list[dict[str, Any]]) -> bool:
    value = compiled(column)
    return any(value(record) is not None for record in records[:20])


def _applies(mapping: MappingConfig, records: list[dict[str, Any]]) -> bool:
    """Whether a rule of the mapping is for one of the records."""
    rules = [
        [
            (compiled(name), (wanted,) if isinstance(wanted, str) else wanted)
            for name, wanted in rule.when.items()
            if name[0] != "."
        ]
        + [(compiled(path), None) for path in rule.lists[:1]]
        for rule in mapping.event
    ]
    return any(
        all(value(record) is not None if wanted is None else str(value(record)) in wanted for value, wanted in rule)
        for record in records
        for rule in rules
    )


def _by_words(names: list[str], records: list[dict[str, Any]], facts: dict[str, str]) -> Proposal:
    """A mapping by what columns are called."""
    if not names:
        raise MappingError("nothing in it can be read: no header, no JSON objects, no elements of XML")
    found = {target: name for target in WORDS if (name := _called(WORDS[target].split(), names))}
    is_events = "ts" in found and ("user_id" in found or "session_id" in found)
    kind: files.Kind = "events" if is_events else "items"
    fields = {target: found[target] for target in (OF_EVENTS if is_events else OF_ITEMS) if target in found}
    values: dict[str, str] = {}
    if is_events:
        seen = {str(record.get(fields.get("type", ""), "")) for record in records} - {""}
        ours = {
            theirs: next((o for o, all_ in SYNONYMS.items() if theirs.lower() in all_.split()), "")
            for theirs in seen - TYPES
        }
        values = {f"type.{theirs}": known for theirs, known in sorted(ours.items()) if known}
        if "type" not in fields:
            fields["type"] = next((kind for name, kind in CLUES.items() if name in fields), "=click")
    return Proposal(kind, None, fields, values, facts, names)


def _called(words: list[str], names: list[str]) -> str | None:
    plain = {
        re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).strip().lower()): name
        for name in reversed(names)
    }
    joined = {key.replace("_", ""): name for key, name in plain.items()}
    for word in words:
        if word in plain or word.replace("_", "") in joined:
            return plain.get(word) or joined[word.replace("_", "")]
    return None
