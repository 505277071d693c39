"""The compact text trunk: WordPiece tokens, a small transformer, a weighted mean.

Given strings it gives back one vector each. The vocabulary holds whole words and, for words it lacks,
pieces of words. Padding is masked everywhere, so a text has the same vector alone and in a batch.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor, nn
from torch.nn import functional as F

PAD, UNKNOWN = "[PAD]", "[UNK]"
MOST_TOKENS = 48


def make_tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """Lower-casing, accent-stripping WordPiece over the given vocabulary; index is position."""
    ids = {word: k for k, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token=UNKNOWN, max_input_chars_per_word=48))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.enable_truncation(MOST_TOKENS)
    return tokenizer


def read_vocabulary(path: Path) -> list[str]:
    """The vocabulary file: one token a line; `[PAD]` is the first, `[UNK]` the second."""
    return path.read_text(encoding="utf-8").splitlines()


def token_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token indices of a text, at most `MOST_TOKENS`; `[UNK]` alone where nothing is left."""
    return tokens_of(tokenizer, text)[0]


def tokens_of(tokenizer: Tokenizer, text: str) -> tuple[list[int], int]:
    """The `token_ids` of a text, and the number of tokens it had before it was cut to them."""
    encoding = tokenizer.encode(text)
    ids = encoding.ids or [1]
    if len(ids) < MOST_TOKENS:
        return ids, len(ids)
    return ids, len(ids) + sum(len(rest) for rest in encoding.overflowing)


def pad_ids(rows: Sequence[Sequence[int]]) -> Tensor:
    """Token lists -> int64 [n, longest], zeros after each end."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and a feed-forward layer, both beside a shortcut."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm_hidden = nn.LayerNorm(dim)
        self.hidden = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """X [n, t, dim], mask [n, t] true where there is a token -> [n, t, dim]."""
        n, t, dim = x.shape
        qkv = self.query_key_value(self.norm_attention(x))
        q, k, v = qkv.view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        logits = logits.masked_fill(~mask[:, None, None], float("-inf"))
        x = x + self.out((logits.softmax(-1) @ v).transpose(1, 2).reshape(n, t, dim))
        out: Tensor = x + self.hidden(self.norm_hidden(x))
        return out


class WordTrunk(nn.Module):
    """Token embeddings, transformer blocks, a mean weighted by a learned score, a linear map."""

    def __init__(self, tokens: int, dim: int, layers: int, heads: int, hidden: int, features: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, dim, padding_idx=0)
        self.places = nn.Parameter(torch.zeros(MOST_TOKENS, dim))
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads, hidden) for _ in range(layers))
        self.score = nn.Linear(dim, 1)
        self.top = nn.Linear(dim, features)

    def forward(self, ids: Tensor) -> Tensor:
        """Token indices [n, t], 0 where padded -> [n, features], unit length."""
        mask = ids != 0
        x = self.tokens(ids) + self.places[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, mask)
        weight = self.score(x).squeeze(-1).masked_fill(~mask, float("-inf")).softmax(-1)
        return F.normalize(self.top((weight[..., None] * x).sum(dim=1)), dim=1)
