import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.encoder import Encoder
from models.terms import fold, grams, numbered, spaced

ENGLISH = [
    "HP LaserJet toner cartridge, black",
    "women's winter boots",
    "wi-fi router (dual band)",
    "",
    "a/b testing: garden hose & reel",
]


def terms(text: str) -> set[str]:
    folded = fold(text)
    return {*spaced(folded).split(), *grams(folded), *numbered(folded)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("無線滑鼠", "无线滑鼠"),
        ("\uff35\uff33\uff22 \uff12\uff17", "USB 27"),
        ("ｺｰﾋｰ メーカー", "こーひー めーかー"),
        ("電動歯ブラシ", "电动齿ぶらし"),
        ("Straße CAFÉ", "strasse cafe"),
        ("Jalapeño", "jalapen\u0303o"),
        ("5½", "5 1/2"),
    ],
)
def test_ways_of_writing_are_folded(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_marks_that_are_part_of_letters_stay() -> None:
    assert fold("が") == "が" != fold("か") and fold("ปี่") == "ปี่" and fold("배터리") == "배터리"


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("iPhone15ProMax", "Apple iPhone 15 Pro Max 256 GB"),
        ("iphone15 pro max", "Apple iPhone 15 Pro Max 256 GB"),
        ("WH1000XM5", "Sony WH-1000XM5 headphones"),
        ("wh 1000 xm5", "Sony WH-1000XM5 headphones"),
        ("小米14pro", "小米14 Pro 手机"),
    ],
)
def test_model_numbers_have_terms_in_common_however_spaced(query: str, title: str) -> None:
    other = "Apple iPhone 14 Plus 128 GB, Sony SRS-XB100, 华为 手机"
    assert len(terms(query) & terms(title)) >= 3
    assert len(terms(query) & terms(title)) > len(terms(query) & terms(other))


def test_model_numbers_are_kept_whole() -> None:
    assert "iphone15promax" in terms("iPhone15ProMax") and "wh1000xm5" in terms("Sony WH-1000XM5")


@pytest.mark.parametrize(
    ("texts", "term"),
    [
        (["5 cm", "5cm", "5-cm", "5 centimetres", "5厘米", "5 公分", "5センチ", "5㎝"], "5cm"),
        (["½ in.", "1/2 inch", "0.5 in", "0,5 Zoll", '1/2"', "0.5インチ"], "0.5in"),
        (["5½ in.", "5-1/2 in", "5 1/2 inch", "5.5英寸"], "5.5in"),
        (["1,000 W", "1000w", "1000 Watt", "1000瓦"], "1000w"),
        (["1.5 L", "1,5 Liter", "1.5升", "1.5 litros"], "1.5l"),
    ],
)
def test_measures_have_one_form(texts: list[str], term: str) -> None:
    assert [text for text in texts if term not in terms(text)] == []


def test_no_measures_where_there_are_none() -> None:
    assert list(numbered("inch cable 1/0 mm")) != [] and list(numbered("5/0")) == []
    assert "5m" not in terms("5 meals") and "5in" not in terms("5 indoor plants")


@pytest.mark.parametrize("text", ENGLISH)
def test_english_without_numbers_is_as_the_tokenizer_splits_it(encoder: Encoder, text: str) -> None:
    assert encoder.word_pieces([text])[0] == encoder.tokenizer.tokenize(text)
    assert list(grams(fold(text))) == list(numbered(fold(text))) == []


def test_english_with_numbers_only_gains_terms(encoder: Encoder) -> None:
    text = "USB-C cable 2 m, 65W"
    own = encoder.tokenizer.tokenize(text)
    [pieces] = encoder.word_pieces([text])
    assert pieces[: len(own)] == own and {"2m", "65w"} <= set(pieces[len(own) :])


def test_numbers_of_any_length_have_terms() -> None:
    for text in ("9" * 5_000 + " cm", "9" * 5_000 + "/" + "9" * 5_000 + " cm", "1/0 cm", "5" * 5_000 + "x" * 5_000):
        assert all(len(term) <= 50 for term in numbered(text)), text[-9:]


@settings(deadline=None)
@given(st.text())
def test_any_text_has_a_form(text: str) -> None:
    folded = fold(text)
    assert fold(text) == folded and all(len(term) > 0 for term in [*grams(folded), *numbered(folded)])
    assert max(map(len, numbered(folded)), default=0) < 400


@settings(deadline=None)
@given(st.text(alphabet="牛奶兒童ミルク 12cm"))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)
