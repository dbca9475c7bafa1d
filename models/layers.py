"""A BERT model's forward pass over plain tensors: what inference needs of transformers' modules, and nothing besides.

The three products of a layer's attention are one, activations and residuals are part of the products before them, and
weights are laid out once for the processor. A pass of a few tokens is otherwise mostly spent between the products.
Knows modules and tensors; nothing of texts, nor of what the states are for.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import embedding, scaled_dot_product_attention

from models import cpu

FUSED = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
"""Activations that a packed product takes with it, by their names in configurations; what it calls them."""


class PackedLinear(nn.Module):
    """A linear layer for inference only, equal to :class:`torch.nn.Linear` up to rounding.

    Parameters
    ----------
    linear
        The layer to replace, in float32 or bfloat16.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        answer: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values, self.weight, self.bias, "none", [], "")
        return answer

    def gelu(self, values: torch.Tensor, algorithm: str) -> torch.Tensor:
        """[..., in] to GELU of [..., out]; the algorithm is ``none`` or ``tanh``, as torch calls them."""
        ask = torch.ops.mkldnn._linear_pointwise
        answer: torch.Tensor = ask(values, self.weight, self.bias, "gelu", [], algorithm)
        return answer

    def plus(self, values: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """[..., in] to the sum of [..., out] and another [..., out]."""
        ask = torch.ops.mkldnn._linear_pointwise.binary
        answer: torch.Tensor = ask(values, other, self.weight, self.bias, "add")
        return answer


@torch.inference_mode()
def pack_linears(model: nn.Module) -> int:
    """Replace a model's linear layers on the CPU by packed ones; it can only infer afterwards.

    Returns
    -------
    int
        How many layers were replaced: none where this torch has no packed ones, and those in bfloat16 only where the
        processor has it.

    Examples
    --------
    >>> pack_linears(nn.Sequential(nn.Linear(4, 4, dtype=torch.float64)))
    0
    """
    if not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return 0
    native = {torch.float32} | ({torch.bfloat16} if "bfloat16" in cpu.features() else set())
    packed = 0
    for name, child in model.named_children():
        if not isinstance(child, nn.Linear):
            packed += pack_linears(child)
        elif child.weight.dtype in native and child.weight.device.type == "cpu":
            setattr(model, name, PackedLinear(child))
            packed += 1
    return packed


class Layer(nn.Module):
    """One layer of BERT or XLM-RoBERTa, taken from transformers' module for it."""

    def __init__(self, layer: Any, heads: int, activation: str) -> None:
        from transformers.activations import ACT2FN

        super().__init__()
        own, output = layer.attention.self, layer.attention.output
        self.heads, self.activation = heads, activation
        self.asked = _joined([own.query, own.key, own.value])
        self.attended, self.attended_norm = output.dense, output.LayerNorm
        self.wide, self.narrow, self.norm = layer.intermediate.dense, layer.output.dense, layer.output.LayerNorm
        self.activate: Any = ACT2FN[activation]

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """States [rows, width, D] to the next layer's; the mask is bool [rows, 1, width, width]."""
        rows, width, dim = states.shape
        asked = self.asked(states).view(rows, width, 3, self.heads, dim // self.heads)
        query, key, value = asked.permute(2, 0, 3, 1, 4).unbind(0)
        seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        seen = seen.transpose(1, 2).reshape(rows, width, dim)
        states = self.attended_norm(_sum(self.attended, seen, states))
        if isinstance(self.wide, PackedLinear) and self.activation in FUSED:
            wide = self.wide.gelu(states, FUSED[self.activation])
        else:
            wide = self.activate(self.wide(states))
        answer: torch.Tensor = self.norm(_sum(self.narrow, wide, states))
        return answer


class PackedRows(nn.Module):
    """A BERT model over shared rows, as a module that takes only tensors, so that it can be exported and compiled.

    Token ids, owners and positions, int64 [rows, width], to hidden states [rows, width, D]; see
    :func:`models.reader.pack`. Without owners each row is one text.

    Parameters
    ----------
    bert
        transformers' model, whose parts it takes.
    """

    def __init__(self, bert: Any) -> None:
        super().__init__()
        config, parts = bert.config, bert.embeddings
        first = first_position(config)
        places = parts.position_embeddings.weight.detach()[first:] + parts.token_type_embeddings.weight.detach()[0]
        self.words, self.norm = parts.word_embeddings, parts.LayerNorm
        self.register_buffer("places", places)
        heads, activation = config.num_attention_heads, config.hidden_act
        self.layers = nn.ModuleList(Layer(layer, heads, activation) for layer in bert.encoder.layer)

    def forward(self, ids: torch.Tensor, owner: torch.Tensor | None, position: torch.Tensor) -> torch.Tensor:
        """See the class."""
        mask = None if owner is None else (owner.unsqueeze(2) == owner.unsqueeze(1)).unsqueeze(1)
        states: torch.Tensor = self.norm(self.words(ids) + embedding(position, self.get_buffer("places")))
        for layer in self.layers:
            states = layer(states, mask)
        return states


def first_position(config: Any) -> int:
    """The position of a text's first token: XLM-RoBERTa counts from the one after that of padding."""
    return int(config.pad_token_id) + 1 if config.model_type == "xlm-roberta" else 0


@torch.no_grad()
def _joined(linears: list[nn.Linear]) -> nn.Linear:
    """Linear layers of one input as one; their outputs stand one after the other."""
    weight, bias = (torch.cat([getattr(one, name) for one in linears]) for name in ("weight", "bias"))
    joined = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    joined.weight, joined.bias = nn.Parameter(weight), nn.Parameter(bias)
    return joined


def _sum(linear: nn.Module, values: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    answer: torch.Tensor = linear.plus(values, other) if isinstance(linear, PackedLinear) else linear(values) + other
    return answer
