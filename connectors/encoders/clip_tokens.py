"""The tokens of one text as open_clip's tokenizers give them, their number, and whether any word is known.

A service prepares short texts on its event loop. open_clip's `SimpleTokenizer` calls eight operations of
torch and a search of `regex` for a text; each lets go of the interpreter, and has to wait for it beside the
threads that encode. `ClipTokens` does the same with one array. `OtherTokens` is for all other tokenizers.
"""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from connectors.encoder import Prepared
from connectors.encoders.known_words import KnownByteWords, known_words


class TextTokens(Protocol):
    """Prepares single texts: int64 tokens with the padding that the tokenizer gives them, or without it."""

    def padded(self, text: str) -> Prepared:
        """Return the tokens [1, context] of a text."""

    def unpadded(self, text: str) -> Prepared:
        """Return the tokens [1, length] of a text, up to its end."""


class ClipTokens:
    """Given open_clip's `SimpleTokenizer`, tokens of single texts. Thread-safe as that is."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._words = KnownByteWords(tokenizer.encoder, tokenizer.all_special_ids)

    def padded(self, text: str) -> Prepared:
        """See `TextTokens`; zeros after the end of the text."""
        return self._prepared(text, self._tokenizer.context_length)

    def unpadded(self, text: str) -> Prepared:
        """See `TextTokens`: start, at most context - 2 tokens, end."""
        return self._prepared(text, 0)

    def _prepared(self, text: str, least: int) -> Prepared:
        bpe = self._tokenizer
        symbols, numbers, merged = bpe.byte_encoder, bpe.encoder, bpe.bpe
        ids = [bpe.sot_token_id]
        for word in bpe.pat.findall(bpe.clean_fn(text), concurrent=False):
            letters = "".join([symbols[byte] for byte in word.encode("utf-8")])
            ids.extend([numbers[part] for part in merged(letters).split(" ")])
        given, used = len(ids) + 1, min(len(ids) + 1, bpe.context_length)
        ids[used - 1 :] = [bpe.eot_token_id]
        understood = self._words.any_in(ids)
        if used < least:
            ids += [0] * (least - used)
        rows = torch.from_numpy(np.array([ids], dtype=np.int64))
        return Prepared("text", rows, used, given if given > used else None, understood)


class OtherTokens:
    """Given any other tokenizer of open_clip, tokens of single texts."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._words = (
            KnownByteWords(tokenizer.encoder, tokenizer.all_special_ids)
            if self._is_simple
            else known_words(tokenizer.tokenizer.get_vocab(), tokenizer.tokenizer.all_special_ids)
        )

    def padded(self, text: str) -> Prepared:
        """See `TextTokens`."""
        return self._prepared(text, self._tokenizer(text))

    def unpadded(self, text: str) -> Prepared:
        """See `TextTokens`; the end is the largest of all tokens."""
        tokens: Tensor = self._tokenizer(text)
        return self._prepared(text, tokens[:, : int(tokens.argmax()) + 1])

    @property
    def _is_simple(self) -> bool:
        return hasattr(self._tokenizer, "sot_token_id")

    def _prepared(self, text: str, rows: Tensor) -> Prepared:
        given, context = self._count(text), int(self._tokenizer.context_length)
        understood = self._words.any_in(rows[0].tolist())
        return Prepared("text", rows, rows.shape[1], given if given > context else None, understood)

    def _count(self, text: str) -> int:
        """Return the tokens of the whole text, which the tokenizer keeps to itself: it is asked again."""
        if self._is_simple:
            return len(self._tokenizer.encode(text)) + 2
        in_clips_way = getattr(self._tokenizer, "tokenizer_mode", "") == "clips"
        ids = self._tokenizer.tokenizer(
            self._tokenizer.clean_fn(text),
            add_special_tokens=not in_clips_way,
            truncation=False,
            verbose=False,
        )["input_ids"]
        return len(ids) + (3 if in_clips_way else 0)
