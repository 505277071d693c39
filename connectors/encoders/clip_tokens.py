"""CLIP's tokens of one text, as open_clip's tokenizer gives them, without the interpreter changing hands.

A service prepares short texts on its event loop. open_clip's tokenizer calls eight operations of torch and a
search of `regex` for a text; each lets go of the interpreter, and has to wait for it beside the threads that
encode. `ClipTokens` does the same with one array.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor


class ClipTokens:
    """Given open_clip's `SimpleTokenizer`, tokens of single texts. Thread-safe as that is."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> Tensor:
        """int64 [1, context], zeros after the end of the text."""
        tokens: Tensor = self._tokenizer(text)
        return tokens

    def unpadded(self, text: str) -> Tensor:
        """int64 [1, length]: start, at most context - 2 tokens, end."""
        bpe = self._tokenizer
        ids = [bpe.sot_token_id]
        for word in bpe.pat.findall(bpe.clean_fn(text), concurrent=False):
            letters = "".join([bpe.byte_encoder[byte] for byte in word.encode("utf-8")])
            ids.extend([bpe.encoder[part] for part in bpe.bpe(letters).split(" ")])
        ids[bpe.context_length - 1 :] = []
        ids.append(bpe.eot_token_id)
        return torch.from_numpy(np.array([ids], dtype=np.int64))
