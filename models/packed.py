"""Linear layers whose weights are laid out once for the processor, instead of at every call.

Torch's bfloat16 layers on a CPU reorder their weights into oneDNN's own layout each time; for one short query that is a
third of the whole pass. Knows layers; nothing of what they are part of. The two operations used are those that torch's
own compiler puts into frozen graphs; where this torch lacks them, or the numbers are of another kind, nothing changes.
"""

import torch
from torch import nn

from models import cpu


class PackedLinear(nn.Module):
    """A linear layer for inference alone, as :class:`torch.nn.Linear` up to rounding.

    Parameters
    ----------
    linear
        The layer to stand in for, in bfloat16.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """bfloat16 [..., in] to [..., out]."""
        answer: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values, self.weight, self.bias, "none", [], "")
        return answer


@torch.inference_mode()
def pack_linears(model: nn.Module) -> int:
    """Replace a model's bfloat16 linear layers on the CPU by packed ones; it can only infer afterwards.

    Returns
    -------
    int
        How many layers were replaced.

    Examples
    --------
    >>> pack_linears(nn.Sequential(nn.Linear(4, 4)))
    0
    """
    if "bfloat16" not in cpu.features() or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return 0
    packed = 0
    for name, child in model.named_children():
        if not isinstance(child, nn.Linear):
            packed += pack_linears(child)
        elif child.weight.dtype is torch.bfloat16 and child.weight.device.type == "cpu":
            setattr(model, name, PackedLinear(child))
            packed += 1
    return packed
