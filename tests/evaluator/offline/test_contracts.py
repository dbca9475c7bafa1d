"""Every measure, perturbation, contender and dimension keeps its contract; a new file is found by itself."""

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from evaluator.offline import contenders, dimensions, measures, perturbations
from evaluator.offline.contenders import contender
from evaluator.offline.contenders.contender import ContenderError
from evaluator.offline.dimensions import dimension
from evaluator.offline.measures import measure
from evaluator.offline.measures.measure import Measure
from evaluator.offline.perturbations import perturbation
from evaluator.offline.perturbations.perturbation import Perturbation
from models.late_interaction import LateInteraction
from models.store import Data, Description, ModelStore
from models.weights import PACKAGED, fingerprint, quiet, resolve
from tests.evaluator.offline import contracts
from tests.evaluator.offline.contenders.test_remote import Shelf

WORLDS = {"searches": contracts.searches(), "feed": contracts.feed()}


def test_names_are_unique() -> None:
    for every in ([one.name for one in measure.every()], [one.name for one in perturbation.every()]):
        assert len(set(every)) == len(every)


@pytest.mark.parametrize("one", measure.every(), ids=lambda one: one.name)
def test_a_measure_keeps_its_contract(one: Measure) -> None:
    contracts.measure(one)


@pytest.mark.parametrize("one", perturbation.every(), ids=lambda one: one.name)
def test_a_perturbation_keeps_its_contract(one: Perturbation) -> None:
    contracts.perturbation(one)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", dimension.names())
def test_a_dimension_keeps_its_contract(name: str, world: str) -> None:
    one = dimension.named(name)
    assert one.name == name, "a dimension has the name of its module"
    contracts.dimension(one, WORLDS[world])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny cross-encoder of one output, one of four, a head of ours, and a store with a version of it."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = AutoTokenizer.from_pretrained(resolve(PACKAGED))
    for outputs in (1, 4):
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(outputs)
            sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
            config = BertConfig(vocab_size=len(tokenizer), num_labels=outputs, **sizes)  # type: ignore[call-arg]
            BertForSequenceClassification(config).save_pretrained(folder / f"cross-{outputs}")
            tokenizer.save_pretrained(folder / f"cross-{outputs}")
    LateInteraction().save(folder / "version" / "head")
    ModelStore(str(folder / "store")).put(
        folder / "version",
        Description(
            method="head",
            architecture="late_interaction",
            encoder=PACKAGED,
            encoder_fingerprint=fingerprint(resolve(PACKAGED)),
            data=Data("events", examples=300),
        ),
    )
    return folder


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shelf]:
    """A server of both APIs of services."""
    monkeypatch.setenv("EVALUATION_CACHE", str(tmp_path / "answers"))
    found = Shelf()
    yield found
    found.stop()


MADE_OF: dict[str, tuple[str, ...]] = {
    "cross_encoder": ("{made}/cross-1", "{made}/cross-4"),
    "late_interaction": ("", "{made}/version/head"),
    "version": ("{made}/store#2",),
    "rerank": ("{url}", "{url}#model"),
    "chat": ("{url}#model",),
    "python": ("evaluator.offline.contenders.simple:Random",),
    "popularity": ("", "30"),
    "bm25": ("", "german"),
}
"""What follows the colon, where a kind needs it or reads it."""

NAMES = [f"{kind}:{rest}".rstrip(":") for kind in contender.kinds() for rest in MADE_OF.get(kind, ("",))]


@pytest.mark.parametrize("name", NAMES)
def test_a_contender_keeps_its_contract(name: str, request: pytest.FixtureRequest) -> None:
    if "{made}" in name:
        name = name.replace("{made}", str(request.getfixturevalue("made")))
    if "{url}" in name:
        name = name.replace("{url}", request.getfixturevalue("shelf").url)
    assert contender.kinds()[name.partition(":")[0]].says
    contender.require(name)
    kept = 0
    for data in WORLDS.values():
        one = contender.make(name)
        try:
            one.fit(data)
        except ContenderError as error:
            assert "needs" in str(error), "what is missing is told"
            continue
        contracts.contender(one, data)
        kept += 1
    assert kept


PACKAGES: dict[ModuleType, tuple[str, Callable[[], object]]] = {
    measures: ("MEASURES = (Measure('always', lambda one: 1.0, 'One.'),)", lambda: [m.name for m in measure.every()]),
    perturbations: (
        "PERTURBATIONS = (QueryPerturbation('always', lambda change: change.text + '!', 'One mark.'),)",
        lambda: [one.name for one in perturbation.every()],
    ),
    contenders: ("CONTENDERS = {'always': object}\n1 / 0", lambda: list(contender.kinds())),
    dimensions: ("1 / 0", dimension.names),
}
"""A file of each package that says it is there, and the names that are found."""


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_new_file_is_found_by_itself(package: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contenders and dimensions are found without an import, which their libraries would make slow."""
    content, names = PACKAGES[package]
    assert "always" not in names()  # type: ignore[operator]
    imports = (
        "from evaluator.offline.measures.measure import Measure\n"
        "from evaluator.offline.perturbations.perturbation import QueryPerturbation\n"
    )
    (tmp_path / "always.py").write_text(imports + content)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    assert "always" in names()  # type: ignore[operator]


PAGE = Path(__file__).parents[3] / "docs" / "evaluation.md"
EXAMPLES = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE.read_text("utf-8").partition("\n## Add a measure")[2], re.M)


BY_PACKAGE = {
    measures: ("MEASURES", "first"),
    perturbations: ("PERTURBATIONS", "polite"),
    contenders: ("CONTENDERS", "shortest"),
    dimensions: ("DIMENSION", "brevity"),
}
"""What an example of each package defines, and its file."""


@pytest.mark.parametrize("package", BY_PACKAGE, ids=lambda package: package.__name__)
def test_an_example_of_the_documentation_keeps_its_contract(
    package: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping, file = BY_PACKAGE[package]
    [example] = [one for one in EXAMPLES if f"    {mapping} = " in one]
    (tmp_path / f"{file}.py").write_text(textwrap.dedent(example))
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    if package is measures:
        [one] = [one for one in measure.every() if one.name == file]
        contracts.measure(one)
    elif package is perturbations:
        [one] = [one for one in perturbation.every() if one.name == file]
        contracts.perturbation(one)
    elif package is contenders:
        assert contender.kinds()[file].says == "Items with short titles first."
        for data in WORLDS.values():
            contracts.contender(contender.make(file), data)
    else:
        part = contracts.dimension(dimension.named(file), WORLDS["searches"])
        assert part.readings[0].value == pytest.approx(4.0)
