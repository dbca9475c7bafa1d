"""What each method may change of an encoder, and how fast."""

import re

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from models.late_interaction import LateInteraction
from models.training.method import Method
from models.training.methods import RECIPES, SHARES, adapt, parameter_groups
from models.training.towers import CrossEncoderTower, LateInteractionTowers

ADAPTERS: list[Method] = ["lora", "adalora", "prefix", "adapter"]


def small_bert() -> nn.Module:
    """A BERT of two narrow layers, made in no time."""
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=128
    )
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.mark.parametrize("method", ADAPTERS)
def test_an_adapter_is_small_and_the_encoder_under_it_frozen(method: Method) -> None:
    bert = small_bert()
    whole = sum(weights.numel() for weights in bert.parameters())
    adapted = adapt(bert, method, 100)
    trained = {name for name, weights in adapted.named_parameters() if weights.requires_grad}
    assert trained
    assert all(re.search(r"lora_|ia3_|prompt_encoder", name) for name in trained)
    assert sum(adapted.get_parameter(name).numel() for name in trained) < whole / 2


@pytest.mark.parametrize("method", ["lora", "adalora", "adapter"])
def test_what_starts_from_the_encoder_reads_as_it_does(method: Method) -> None:
    """Training starts from what is served; only a prefix changes it at once."""
    ids = torch.arange(12).view(2, 6)
    with torch.inference_mode():
        before = small_bert()(input_ids=ids).last_hidden_state
        after = adapt(small_bert(), method, 100).eval()(input_ids=ids).last_hidden_state
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("method", ["lora", "adapter"])
def test_every_layer_is_adapted(method: Method) -> None:
    adapted = adapt(small_bert(), method, 100)
    trained = [name for name, weights in adapted.named_parameters() if weights.requires_grad]
    for layer in (0, 1):
        for part in ("attention.self.key", "attention.self.value", "output.dense"):
            assert any(f"layer.{layer}.{part}" in name for name in trained), (layer, part)


@pytest.mark.parametrize("method", ["full", "cross_encoder"])
def test_the_full_methods_take_the_encoder_itself(method: Method) -> None:
    bert = small_bert()
    assert adapt(bert, method, 10) is bert
    assert all(weights.requires_grad for weights in bert.parameters())


@pytest.mark.parametrize("method", ["head", "query_encoder"])
def test_the_head_alone_adapts_nothing(method: Method) -> None:
    with pytest.raises(ValueError, match="trains no encoder"):
        adapt(small_bert(), method, 10)


@pytest.mark.parametrize("steps", [1, 5, 10, 11, 200, 5_000])
def test_adalora_plans_for_any_number_of_steps(steps: int) -> None:
    """It settles its ranks before the end and not at the start, as its own plan demands."""
    adapted = adapt(small_bert(), "adalora", steps)
    [config] = adapted.peft_config.values()  # type: ignore[operator,union-attr]
    assert 0 < config.tinit < config.total_step - config.tfinal < config.total_step
    assert config.total_step == max(steps, 10)


@pytest.mark.parametrize("tower", ["late_interaction", "cross_encoder"])
def test_every_trained_parameter_has_one_rate_and_vectors_do_not_decay(tower: str) -> None:
    if tower == "late_interaction":
        model: nn.Module = LateInteractionTowers(LateInteraction(), adapt(small_bert(), "lora", 10), {})
    else:
        classifier = nn.Module()
        classifier.bert, classifier.classifier = small_bert(), nn.Linear(32, 4)
        model = CrossEncoderTower(classifier, {})
    groups = parameter_groups(model, rate=0.5, head_rate=0.25, decay=0.1)
    given = {id(one): group for group in groups for one in group["params"]}
    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    assert len(given) == sum(len(group["params"]) for group in groups) == len(trained)
    for name, one in trained.items():
        group = given[id(one)]
        part = 0.5 if name.startswith("bert.") and "classifier" not in name else 0.25
        part *= SHARES.get(name.rpartition(".")[0], 1.0)
        assert group["lr"] == part, name
        assert group["weight_decay"] == (0.1 if one.ndim > 1 else 0.0), name


def test_recipes_say_what_they_train() -> None:
    for method, recipe in RECIPES.items():
        assert recipe.trains_queries == (method not in {"head", "query_encoder"})
        assert (recipe.rate > 0) == (method != "head")  # a smaller encoder is trained before the head
        assert recipe.trains_items == (method in {"full", "cross_encoder"})
        assert recipe.head_rate > 0 and recipe.epochs >= 1 and recipe.contexts >= 1
