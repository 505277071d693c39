"""Makes `import torchvision` work where its wheel and torch were built for different devices.

The wheel of torchvision on PyPI is a CUDA build. Beside a CPU build of torch its operators are
missing, `import torchvision` fails on the first one it registers a fake for, and open_clip, timm
and transformers then fail with messages that blame something else. Call
`declare_missing_operators` before importing any of them; where the builds match it does nothing.
"""

from functools import cache

from torch.library import Library

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def declare_missing_operators() -> Library | None:
    """Declare the operators torchvision lacks, and import it.

    Returns what keeps the declarations alive, None where none was needed. Raises RuntimeError if
    torchvision cannot be imported for another reason.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    else:
        return None
    library = Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(name + _NMS)  # type: ignore[no-untyped-call]
    import torchvision  # noqa: F401

    return library
