"""Read by infinity's interpreter: lets torchvision's CUDA wheel be imported beside a CPU torch."""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # The operators its C++ part lacks; the Library must stay referenced, or they are gone again.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
