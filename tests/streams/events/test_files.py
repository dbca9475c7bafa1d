"""What shops' systems export is read as it is; what is wrong in it is told with its line."""

import json
import re
import tempfile
import tomllib
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.config import EventsConfig
from streams.events.adapters import documents
from streams.events.adapters.files import Kind, read
from streams.events.adapters.gate import Entry, Omission
from streams.events.adapters.mapping import MappingConfig, MappingError, load, presets
from streams.events.adapters.proposal import propose
from streams.events.adapters.source import Source, SourceError
from streams.events.cleaning import Notes
from streams.events.decode import Refusal, decode_event, decode_item
from streams.events.markup import plain
from streams.events.moments import FOLD, GAP
from streams.events.schema import Click, Event, Item, Search, encoder

NOW = 1_790_000_000_000
T0 = 1_768_003_200_000
CLICK = {"type": "click", "event_id": "1", "ts": T0, "user_id": "u", "item_id": "i"}


def mapped(*fields: str, values: tuple[str, ...] = (), **members: Any) -> MappingConfig:
    return MappingConfig().changed(fields, values, **members)


def entries(
    path: Path | str, kind: Kind, mapping: MappingConfig | None = None, notes: Notes | None = None, **events: Any
) -> list[Entry]:
    mapping = mapping or MappingConfig()
    with Source(path, mapping.encoding) as source:
        return list(read(source, kind, mapping, NOW, EventsConfig(**events), notes))


def items(found: list[Entry]) -> list[Item]:
    return [entry.outcome for entry in found if isinstance(entry.outcome, Item)]


def refusals(found: list[Entry]) -> list[tuple[int, str, str]]:
    return [
        (entry.line.number, entry.outcome.reason, entry.outcome.detail)
        for entry in found
        if isinstance(entry.outcome, Refusal)
    ]


# --- JSON

LAMPS = [{"item_id": "1", "title": "Lamp"}, {"item_id": "2", "title": "Desk"}]


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (json.dumps(LAMPS), None),
        (json.dumps(LAMPS, indent=2), None),
        ("\n".join(json.dumps(one, indent=1) for one in LAMPS), None),
        (json.dumps({"total": 2, "products": LAMPS}, indent=2), None),
        (json.dumps({"products": LAMPS}), None),
        (json.dumps({"data": {"more": [1], "items": LAMPS}}, indent=2), None),
        (json.dumps({"shop": {"wares": LAMPS, "n": 1}, "x": 2}), "shop.wares[]"),
        (json.dumps([{"wares": LAMPS[:1]}, {"wares": LAMPS[1:]}]), "[].wares[]"),
    ],
    ids=[
        "array",
        "pretty array",
        "documents",
        "list in a document",
        "in one line",
        "deeper",
        "path",
        "lists in a list",
    ],
)
def test_json_is_read_whatever_is_around_the_records(tmp_path: Path, content: str, path: str | None) -> None:
    (tmp_path / "a.json").write_text(content)
    notes = Notes()
    found = entries(tmp_path / "a.json", "items", mapped(records=path), notes)
    assert [item.title for item in items(found)] == ["Lamp", "Desk"]
    assert "records at" in notes.facts["read as"] or content.startswith("{\n")


def test_elements_have_the_numbers_of_their_lines(tmp_path: Path) -> None:
    content = json.dumps([*LAMPS, {"item_id": "3"}, 7], indent=1)
    (tmp_path / "a.json").write_text(content)
    found = entries(tmp_path / "a.json", "items")
    lines = content.split("\n")
    assert [lines[entry.line.number - 1].strip()[:1] for entry in found] == ["{", "{", "{", "7"]
    assert [(reason, json.loads(found[at].line.raw)) for at, (_, reason, _) in enumerate(refusals(found), 2)] == [
        ("invalid", {"item_id": "3"}),
        ("invalid", 7),
    ]


def test_an_array_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [{"item_id": str(n), "title": f'Größe {n} " \\ ,]}}'} for n in range(500)]
    (tmp_path / "a.json").write_text(json.dumps(many, ensure_ascii=False))
    monkeypatch.setattr(Source, "read", lambda self, *_, **__: self._file.read(7))
    assert [item.item_id for item in items(entries(tmp_path / "a.json", "items"))] == [str(n) for n in range(500)]


@pytest.mark.parametrize(
    "content", ['[{"item_id": "1", "title": "A"},\n{"item_id": ]', '[{"item_id": "1", "title": "A"}\n']
)
def test_malformed_json_is_told_with_its_line_after_what_stands_before(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    found: list[Entry] = []
    with (
        Source(tmp_path / "a.json") as source,
        pytest.raises(SourceError, match=r"a\.json, line 2: the JSON is malformed"),
    ):
        for entry in read(source, "items", MappingConfig(), NOW, EventsConfig()):
            found.append(entry)
    assert len(items(found)) == 1


def test_a_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"products": [], "page": 1}')
    with pytest.raises(SourceError, match=r"nothing at 'wares\[\]'; at its top are page, products"):
        entries(tmp_path / "a.json", "items", mapped(records="wares[]"))
    with pytest.raises(ValueError, match="is no path"):
        documents.steps("a..b")


def test_names_in_objects_and_names_that_are_not_there(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "title": "Lamp", "brand": {"name": "Acme"}, "images": [{"alt": "a"}, {"alt": "b"}]},
        {"id": 2, "title": "B"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    fields = ["item_id=id", "title=title", "brand=brand.name", "description={images[].alt|join}"]
    [lamp, bed] = items(entries(tmp_path / "a.jsonl", "items", mapped(*fields)))
    assert (lamp.brand, lamp.description, bed.brand) == ("Acme", "a, b", "")
    with pytest.raises(MappingError, match=r"no typo in the first 2 records; there are brand, id, images, title"):
        entries(tmp_path / "a.jsonl", "items", mapped(*fields, "description=typo"))
    assert len(items(entries(tmp_path / "a.jsonl", "items", mapped(*fields, "description=typo?")))) == 2


def test_a_list_in_a_text_is_joined_as_the_mapping_says_or_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": 1, "t": "Lamp", "c": ["A", "B"]}))
    for how, expected in [("path", "A > B"), ("join", "A, B"), ("first", "A"), ("words", "A B")]:
        [item] = items(entries(tmp_path / "a.jsonl", "items", mapped("item_id=id", "title=t", f"category={{c|{how}}}")))
        assert item.category == expected
    [(_, reason, detail)] = refusals(
        entries(tmp_path / "a.jsonl", "items", mapped("item_id=id", "title=t", "category={c}"))
    )
    assert reason == "invalid" and "{c|join}, {c|path} or {c|first}" in detail


def test_zero_is_a_value_in_a_template(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"session": 0, "n": 0, "item": "i"}))
    mapping = mapped("type==click", "event_id={n}-{session}", f"ts=={T0}", "session_id={session}", "item_id=item")
    [entry] = entries(tmp_path / "a.jsonl", "events", mapping)
    assert isinstance(entry.outcome, Click)
    assert (entry.outcome.session_id, entry.outcome.event_id) == ("0", "0-0")


# --- tables


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_dialects_are_found_and_said(tmp_path: Path, delimiter: str, end: str, mark: str) -> None:
    rows = [["id", "name", "price"], ["1", '"Lamp, red; ""XL"""', '"1.299,00"'], ["2", '"a\nb"', '"12,50"']]
    (tmp_path / "a.txt").write_bytes((mark + end.join(delimiter.join(row) for row in rows) + end).encode())
    notes = Notes()
    found = items(entries(tmp_path / "a.txt", "items", mapped("item_id=id", "title=name", "price=price"), notes))
    assert [(item.title, item.price) for item in found] == [('Lamp, red; "XL"', 1299.0), ("a\nb", 12.5)]
    named = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}[delimiter]
    assert f"delimiter {named}" in notes.facts["read as"] and notes.facts["decimal mark"] == "comma"


def test_options_override_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id~name~price\n1~Lamp~1.299\n2~Desk~1.5\n")
    mapping = mapped("item_id=id", "title=name", "price=price", delimiter="~")
    assert [item.price for item in items(entries(tmp_path / "a.csv", "items", mapping))] == [1.299, 1.5]
    mapping = mapped("item_id=id", "title=name", "price=price", delimiter="~", decimal=",")
    found = entries(tmp_path / "a.csv", "items", mapping)
    assert [item.price for item in items(found)] == [1299.0, None]


def test_an_amount_that_may_be_two_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,name,price\n1,Lamp,"1,234"\n')
    notes = Notes()
    [item] = items(entries(tmp_path / "a.csv", "items", mapped("item_id=id", "title=name", "price=price"), notes))
    assert item.price is None
    assert notes.examples["price left out: it could not be read"] == "1,234"
    [(_, _, detail)] = refusals(
        entries(tmp_path / "a.csv", "items", mapped("item_id=id", "title=name", "price=price"), unusable="refuse")
    )
    assert "--decimal" in detail


def test_an_open_quote_costs_one_row(tmp_path: Path) -> None:
    rows = ["id,name,text", '1,Lamp,"open', "2,Desk,x", '3,Bed,"a', 'b"', '4,"Nail 5""",y', '5,6" pipe,z', '6,Cup,"end']
    (tmp_path / "a.csv").write_text("\n".join(rows))
    found = entries(tmp_path / "a.csv", "items", mapped("item_id=id", "title=name", "description=text"))
    assert [(item.item_id, item.title, item.description) for item in items(found)] == [
        ("2", "Desk", "x"), ("3", "Bed", "a\nb"), ("4", 'Nail 5"', "y"), ("5", '6" pipe', "z"),
    ]  # fmt: skip
    assert [(line, reason) for line, reason, _ in refusals(found)] == [(2, "malformed"), (8, "malformed")]
    assert sum(entry.line.raw.count(b"\n") + 1 for entry in found) == len(rows) - 1, "every line is in one entry"
    plainly = items(entries(tmp_path / "a.csv", "items", mapped("item_id=id", "title=name", quote="none")))
    assert [item.item_id for item in plainly] == ["1", "2", "3", "4", "5", "6"]


def test_the_first_line_of_excel_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfsep=;\r\nitem_id;title\r\n1;Lamp, red\r\n")
    found = entries(tmp_path / "a.csv", "items")
    assert [(entry.line.number, item.title) for entry, item in zip(found, items(found), strict=True)] == [
        (3, "Lamp, red")
    ]


def test_quotes_escaped_by_backslashes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,name\n1,"a \\"red\\" lamp"\n2,"a \\"blue\\" lamp"\n')
    found = items(entries(tmp_path / "a.csv", "items", mapped("item_id=id", "title=name")))
    assert [item.title for item in found] == ['a "red" lamp', 'a "blue" lamp']


def test_our_own_columns_need_no_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item_id,title,price,colour\n1,Lamp,5,red\n")
    assert [(item.title, item.price) for item in items(entries(tmp_path / "a.csv", "items"))] == [("Lamp", 5.0)]
    with pytest.raises(MappingError, match="--guess"):
        (tmp_path / "b.csv").write_text("sku,name\n1,Lamp\n")
        entries(tmp_path / "b.csv", "items")


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"actions": {"hover": "read"}}, "is for UBI files, and this one is csv"),
        ({"ts": {"format": "epoch_min"}}, "there are auto, epoch_s, epoch_ms"),
        ({"quote": "ab"}, "quote"),
        ({"values": {"type": {"view": "look"}}}, "no such type: look"),
        ({"values": {"colour": {"a": "b"}}}, "no such field: colour"),
        ({"kind": "items", "event": [{"fields": {}}]}, "for events"),
        ({"fields": {"title": "{title|shout}"}}, "there are int, lower"),
        ({"skip": [{"reason": "x", "column": "a", "matches": "("}]}, "no pattern"),
    ],
)
def test_settings_that_would_be_ignored_are_errors_that_say_what_there_is(
    tmp_path: Path, members: dict[str, Any], says: str
) -> None:
    (tmp_path / "a.csv").write_text("item_id,title\n1,Lamp\n")
    with pytest.raises(MappingError, match=says):
        entries(tmp_path / "a.csv", "items", MappingConfig().changed(**members))


# --- Parquet and URLs


def test_parquet_is_read(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {
        "id": [1, 2], "name": ["Lamp", "Desk"], "brand": [{"name": "Acme"}, None], "price": [9.5, float("nan")],
        "tags": [["a", "b"], None],
    }  # fmt: skip
    parquet.write_table(pa.table(rows), tmp_path / "a.parquet")
    mapping = mapped("item_id=id", "title=name", "brand=brand.name", "price=price", "description={tags?|join}")
    found = items(entries(tmp_path / "a.parquet", "items", mapping))
    assert [(one.item_id, one.title, one.brand, one.price, one.description) for one in found] == [
        ("1", "Lamp", "Acme", 9.5, "a, b"), ("2", "Desk", "", None, ""),
    ]  # fmt: skip
    when = {"type": ["click"], "ts": [datetime(2026, 1, 10, tzinfo=UTC)], "user_id": [7], "item_id": ["i"]}
    parquet.write_table(pa.table(when), tmp_path / "b.parquet")
    [click] = [entry.outcome for entry in entries(tmp_path / "b.parquet", "events")]
    assert isinstance(click, Click) and (click.time_ms, click.user_id) == (T0, "7")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SourceError, match="damaged"):
        entries(tmp_path / "c.parquet", "items")


def test_urls_are_read_as_files_are() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/shop/items.csv", b"item_id,title\n1,Lamp\n")
    with Source("memory://shop/items.csv") as source:
        assert (source.name, source.size) == ("items.csv", 21)
    assert [item.title for item in items(entries("memory://shop/items.csv", "items"))] == ["Lamp"]
    with pytest.raises(SourceError, match="cannot be opened"):
        Source("nosuch://shop/items.csv")


# --- values


def test_events_without_an_id_get_one_from_their_content(tmp_path: Path) -> None:
    row = {name: value for name, value in CLICK.items() if name != "event_id"}
    (tmp_path / "a.jsonl").write_text(
        "\n".join(map(json.dumps, [row, row | {"item_id": "j"}, row, row | {"event_id": ""}]))
    )
    notes = Notes()
    found = entries(tmp_path / "a.jsonl", "events", notes=notes)
    ids = [entry.outcome.event_id for entry in found if isinstance(entry.outcome, Event)]
    assert len(ids) == len(set(ids)) == 2
    assert [reason for _, reason, _ in refusals(found)] == ["duplicate", "duplicate"]
    assert sum(notes.counts.values()) == 4
    again = entries(tmp_path / "a.jsonl", "events")
    assert [entry.outcome.event_id for entry in again if isinstance(entry.outcome, Event)] == ids
    refusal = decode_event(json.dumps(row).encode(), NOW, EventsConfig())
    assert isinstance(refusal, Refusal) and "event_id" in refusal.detail, "on the topic its producer gives it"


def test_values_of_others_are_mapped_and_offered(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"id,what,when,who,item\n1,view,{T0},u,i\n2,addtocart,{T0},u,i\n3,poke,{T0},u,i\n")
    fields = ["event_id=id", "type=what", "ts=when", "user_id=who", "item_id=item"]
    found = entries(tmp_path / "a.csv", "events", mapped(*fields))
    assert [detail.partition("? ")[0] for _, _, detail in refusals(found)][:2] == [
        "Invalid value 'view' - at `$.type`: is it `click`",
        "Invalid value 'addtocart' - at `$.type`: is it `cart`",
    ]
    found = entries(tmp_path / "a.csv", "events", mapped(*fields, values=("type.view=click", "type.addtocart=cart")))
    assert Counter(type(entry.outcome).__name__ for entry in found) == {"Click": 1, "Cart": 1, "Refusal": 1}
    with pytest.raises(MappingError, match=r"field\.value=ours"):
        mapped(values=("view=click",))


def test_words_of_stock_can_be_added(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name,stock\n1,Lamp,plenty\n2,Desk,instock\n3,Bed,ausverkauft\n")
    fields = ["item_id=id", "title=name", "in_stock=stock"]
    [(_, _, detail)] = refusals(entries(tmp_path / "a.csv", "items", mapped(*fields), unusable="refuse"))
    assert "--map-value 'in_stock.plenty=true'" in detail
    found = items(entries(tmp_path / "a.csv", "items", mapped(*fields, values=("in_stock.plenty=true",))))
    assert [item.in_stock for item in found] == [True, True, False]


def test_times_around_a_change_of_the_clocks_follow_a_rule_and_are_counted(tmp_path: Path) -> None:
    times = [
        "2026-03-29 01:59:59",
        "2026-03-29 02:30:00",
        "2026-03-29 03:00:00",
        "2025-10-26 02:30:00",
        "2025-10-26 03:00:00",
    ]
    (tmp_path / "a.csv").write_text("at\n" + "\n".join(times))
    mapping = mapped("type==click", "ts=at", "user_id==u", "item_id==i", ts={"zone": "Europe/Berlin"})
    notes = Notes()
    found = [entry.outcome for entry in entries(tmp_path / "a.csv", "events", mapping, notes)]
    utc = [
        datetime.fromtimestamp(event.time_ms / 1000, UTC).strftime("%H:%M:%S")
        for event in found
        if isinstance(event, Event)
    ]
    assert utc == ["00:59:59", "01:30:00", "01:00:00", "00:30:00", "02:00:00"]
    assert (notes.counts[GAP], notes.counts[FOLD]) == (1, 1)
    assert notes.examples[GAP] == "2026-03-29 02:30:00"


def test_times_by_the_settings_of_events(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"type,ts,user_id,item_id\nclick,{T0 // 1000},u,i\nclick,2026-01-10T01:00:00,u,j\n")
    assert [reason for _, reason, _ in refusals(entries(tmp_path / "a.csv", "events"))] == ["invalid", "invalid"]
    found = entries(tmp_path / "a.csv", "events", epoch_unit="auto", timezone="Europe/Berlin")
    assert [entry.outcome.time_ms for entry in found if isinstance(entry.outcome, Event)] == [T0, T0]


def test_variants_whose_item_is_missing_or_left_out(tmp_path: Path) -> None:
    header = "id;parent_id;product_number;active;stock;name;price_gross\n"
    (tmp_path / "a.csv").write_text(header + "v0;gone;SW0.1;1;1;;5\np1;;SW1;0;1;Off;5\nv1;p1;SW1.1;1;1;;5\n")
    found = entries(tmp_path / "a.csv", "items", load("shopware"))
    assert [(entry.line.number, entry.records, type(entry.outcome).__name__) for entry in found] == [
        (2, 1, "Refusal"), (3, 2, "Omission"),
    ]  # fmt: skip


def test_xml_never_reads_entities_of_its_own(tmp_path: Path) -> None:
    bomb = (
        '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><rss><item><id>&b;</id></item></rss>'
    )
    for content in (bomb, bomb.replace('"aaaa"', 'SYSTEM "file:///etc/hostname"')):
        (tmp_path / "a.xml").write_text(content)
        with pytest.raises(SourceError, match="declares entities of its own"):
            entries(tmp_path / "a.xml", "items", load("google-merchant"))


def test_xml_with_entities_of_html_and_a_damage(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<rss><item><id>1</id><title>Tea&nbsp;&eacute;</title></item>\n<item><id>2</rss>")
    found: list[Entry] = []
    with Source(tmp_path / "a.xml") as source, pytest.raises(SourceError, match=r"line 2: the XML is malformed"):
        for entry in read(source, "items", load("google-merchant"), NOW, EventsConfig()):
            found.append(entry)
    assert [item.title for item in items(found)] == ["Tea\u00a0é"]


# --- any bytes, any values

VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=12),
        st.sampled_from(["", "null", "12,50 EUR", "1,234", "<p>a</p>", "&amp;lt;b", str(T0), "2026-01-10", "0"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["key", "value", "item_id", "id", "name"]), inner, max_size=3),
    ),
    max_leaves=6,
)  # fmt: skip
NAMES = [
    "type", "event_id", "ts", "user_id", "session_id", "item_id", "query", "price", "quantity", "position", "title",
    "description", "in_stock", "attributes", "group_id", "items", "filters", "category", "sponsored", "currency",
]  # fmt: skip
RECORDS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=10)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RECORDS, st.booleans())
def test_no_json_value_makes_decoding_raise(record: dict[str, Any], strict: bool) -> None:
    try:
        raw = json.dumps(
            {"type": "click", "event_id": "e", "ts": T0, "user_id": "u", "item_id": "i", "title": "t"} | record
        ).encode()
    except (ValueError, UnicodeEncodeError):
        return
    config = EventsConfig(strict=strict, epoch_unit="auto", timezone="Europe/Berlin")
    event, item = decode_event(raw, NOW, config), decode_item(b"i", raw, config)
    assert isinstance(event, Event | Refusal) and isinstance(item, Item | Refusal)
    if isinstance(event, Event):
        assert decode_event(encoder.encode(event), NOW, EventsConfig()) == event
    if isinstance(item, Item):
        assert isinstance(decode_item(item.item_id.encode(), encoder.encode(item), EventsConfig(strict=True)), Item)


HEADS = {
    "csv": b"item_id,title,price\n", "json": b'[{"item_id": "1", "title": "a"},', "jsonl": b'{"item_id": "1"}\n',
    "xml": b"<rss><item><id>1</id>", "ubi": b"",
}  # fmt: skip


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(st.binary(max_size=300), st.text('",;\n\\{}[]<>/&x1é', max_size=80).map(str.encode)),
    st.sampled_from(sorted(HEADS)),
    st.data(),
)
def test_no_bytes_make_reading_raise_more_than_a_refusal_of_the_file(
    content: bytes, form: str, data: st.DataObject
) -> None:
    preset = data.draw(st.one_of(st.none(), st.sampled_from(presets())))
    mapping = load(preset) if preset else MappingConfig()
    kind = mapping.kind or data.draw(st.sampled_from(["items", "events"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "any")
        path.write_bytes(HEADS[form] + content)
        with suppress(MappingError, SourceError):
            propose(path, NOW, EventsConfig())
        try:
            found = entries(path, kind, mapping if preset else mapping.changed(format=form))
        except (MappingError, SourceError):
            return
    for entry in found:
        assert isinstance(entry.outcome, Event | Item | Refusal)
        entry.outcome.reason.encode() if isinstance(entry.outcome, Refusal) else encoder.encode(entry.outcome)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_what_is_nested_deeply_is_refused(tmp_path: Path, name: str) -> None:
    deep = (
        json.dumps(CLICK | {"type": "search", "query": "tv"})[:-1] + f', "filters": {{"a": {"[" * 900}{"]" * 900}}}}}'
    )
    far = deep.replace("[" * 900, "[" * 100_000).replace("]" * 900, "]" * 100_000)
    for text in (deep, far):
        (tmp_path / name).write_text(f"[{text}]" if name == "a.json" else f"{text}\n{text}")
        for mapping in (None, mapped("type=type", "ts=ts", "user_id=user_id", "query=query", "filters=filters")):
            try:
                found = entries(tmp_path / name, "events", mapping)
            except SourceError as error:
                assert "nested too deep" in str(error)
            else:
                assert all(isinstance(entry.outcome, Event | Refusal) for entry in found)


@settings(deadline=None)
@given(st.text("<>&;/\"'abp!-#x0 ", max_size=200))
def test_text_of_markup_is_bounded_and_total(text: str) -> None:
    assert len(plain(text)) <= len(text)


def test_hostile_markup_takes_no_time() -> None:
    for piece in ("<p ", "<p '", "<!--", "<script>", "&amp;", "&lt;", '<p "<', "<b><"):
        plain(piece * (64_000 // len(piece)))


def test_a_search_has_no_need_of_an_item(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"type": "search", "ts": str(T0), "user_id": 7, "query": "tv"}))
    [entry] = entries(tmp_path / "a.jsonl", "events")
    assert isinstance(entry.outcome, Search) and not isinstance(entry.outcome, Omission)


def test_every_mapping_in_the_documents_can_be_used() -> None:
    page = (Path(__file__).parents[3] / "docs" / "import.md").read_text("utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S)
    assert len(blocks) >= 4
    for block in blocks:
        MappingConfig.model_validate(tomllib.loads(block)).checked().compiled()
