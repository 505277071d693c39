"""Linear layers whose weights lie in memory as oneDNN's kernels read them.

On a CPU torch multiplies float32 through MKL, and for bf16 has oneDNN lay out the weights anew at every
call. Frozen weights can be laid out once: given an encoder's parts, `pack` replaces their linear layers in
place. The arithmetic stays that of the format; only the order of additions differs.
"""

import ctypes
import mmap

import torch
from torch import Tensor, nn

_OPERATORS = ("_linear_pointwise", "_reorder_linear_weight")
"""What torch.compile calls when it freezes a network; no public name calls them."""


class PackedLinear(nn.Module):
    """Takes over from `linear`: [..., in] -> [..., out]. Cannot be moved, converted or copied."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach()))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def can_pack() -> bool:
    """Whether this build of torch has oneDNN and its operators."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)


def pack(part: nn.Module) -> None:
    """Replace the linear layers in `part`, whose weights nothing but the layers themselves may read.

    One after another, and each gives its memory back, so that at no time more than one layer's weights
    are there twice; a tensor that shares memory with them is lost. Layers of `nn.MultiheadAttention`,
    which reads their weights itself, stay.
    """
    for name, child in part.named_children():
        if isinstance(child, nn.Linear):
            setattr(part, name, PackedLinear(child))
            _forget(child.weight)
        elif not isinstance(child, nn.MultiheadAttention):
            pack(child)


def _forget(weight: Tensor) -> None:
    """Give the pages of a weight back to the system.

    Freeing it would not: a checkpoint is one block of memory, which stays as long as any tensor of it.
    """
    start = -(-weight.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    length = weight.data_ptr() + weight.nbytes - start
    if length >= mmap.PAGESIZE:
        whole_pages = ctypes.c_size_t(length // mmap.PAGESIZE * mmap.PAGESIZE)
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), whole_pages, mmap.MADV_DONTNEED)
