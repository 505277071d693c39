"""Distilling the text trunk: a small transformer taught to say what the lexicon says of any text.

Given a `Lexicon` and the texts to teach on, it gives back a vocabulary and a trained `WordTrunk`. Token
embeddings start from the lexicon's own vectors, so that training only has to learn how words combine
and what pieces of unknown words hint at.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from connectors.encoders.compact.word_tower import (
    PAD,
    UNKNOWN,
    WordTrunk,
    make_tokenizer,
    pad_ids,
    token_ids,
)
from training.compact.optimisers import warm_cosine
from training.compact.texts import TEMPLATES, Texts
from training.compact.word_graph import words_of

PIECES = 3500
"""Tokens that are parts of words, out of the whole vocabulary."""

SLICE = 32
"""Texts that go through the trunk together while training."""


def build_vocabulary(texts: Texts, size: int) -> list[str]:
    """`size` tokens: characters, frequent beginnings and endings of words, then whole words.

    Words of class names come first, then words by how often captions, glosses and lemmas use them.
    """
    count: Counter[str] = Counter()
    for text in texts.captions:
        count.update(words_of(text))
    for text in (*texts.glosses, *texts.nouns):
        count.update(dict.fromkeys(words_of(text), 1))
    for name in texts.names:
        count.update(dict.fromkeys(words_of(name), 10000))
    worth: Counter[str] = Counter()
    for word in count:
        for cut in range(2, min(8, len(word))):
            worth[word[:cut]] += cut - 1
            worth["##" + word[-cut:]] += cut - 1
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = dict.fromkeys([PAD, UNKNOWN, *letters, *("##" + c for c in letters)])
    for piece, _ in sorted(worth.items(), key=lambda p: (-p[1], p[0]))[:PIECES]:
        tokens[piece] = None
    for word, _ in sorted(count.items(), key=lambda p: (-p[1], p[0])):
        if len(tokens) == size:
            break
        tokens[word] = None
    return list(tokens)


def first_guess(trunk: WordTrunk, vocabulary: Sequence[str], texts: Texts) -> None:
    """Start token embeddings at the lexicon's vectors on their leading axes, the top at those axes."""
    lexicon = texts.lexicon
    rows = [lexicon.find(token) if not token.startswith("##") else None for token in vocabulary]
    vectors = np.zeros((len(vocabulary), lexicon.dim), dtype=np.float32)
    for k, row in enumerate(rows):
        if row is not None:
            vectors[k] = lexicon.vectors[row] * lexicon.salience.get(vocabulary[k], 1.0)
    dim = trunk.tokens.embedding_dim
    _, _, axes = np.linalg.svd(vectors, full_matrices=False)
    basis = torch.from_numpy(np.ascontiguousarray(axes[:dim]))
    with torch.no_grad():
        start = torch.from_numpy(vectors) @ basis.T
        trunk.tokens.weight.copy_(start + 0.02 * torch.randn_like(start))
        trunk.tokens.weight[0].zero_()
        trunk.top.weight.copy_(basis.T)
        trunk.top.bias.zero_()
        for block in trunk.blocks:
            block.out.weight.mul_(0.1)  # type: ignore[union-attr, operator]
            block.hidden[2].weight.mul_(0.1)  # type: ignore[index, union-attr]


class Sampler:
    """Draws texts: names and nouns bare or in templates, captions, glosses, names set together."""

    def __init__(self, texts: Texts, seed: int) -> None:
        self._texts = texts
        self._rng = np.random.default_rng(seed)

    def _one(self, items: Sequence[str]) -> str:
        return items[int(self._rng.integers(len(items)))]

    def draw(self) -> str:
        """One text."""
        kind, texts = self._rng.random(), self._texts
        if kind < 0.45:
            items = texts.names if self._rng.random() < 0.6 else texts.nouns
            return self._one(TEMPLATES).format(self._one(items))
        if kind < 0.75:
            return self._one(texts.captions)
        if kind < 0.85:
            return self._one(texts.glosses)
        joint = self._one((" and ", ", ", " ", " with ", " on a ", " near "))
        return joint.join(self._one(texts.names) for _ in range(2))


def distil_words(
    texts: Texts,
    vocabulary: Sequence[str],
    trunk: WordTrunk,
    steps: int,
    seed: int,
    progress: Callable[[str], None],
    batch: int = 256,
    lr: float = 1e-3,
) -> WordTrunk:
    """Train `trunk` in place to match the lexicon's vectors by cosine."""
    torch.manual_seed(seed)
    first_guess(trunk, vocabulary, texts)
    trunk.train()
    tokenizer = make_tokenizer(vocabulary)
    sampler = Sampler(texts, seed)
    optimiser = torch.optim.AdamW(trunk.parameters(), lr=lr, weight_decay=0.01, fused=True)
    seen = 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = lr * warm_cosine(step, steps, 100)
        optimiser.zero_grad(set_to_none=True)
        drawn = [sampler.draw() for _ in range(batch)]
        ids = [token_ids(tokenizer, text) for text in drawn]
        order = sorted(range(batch), key=lambda k: len(ids[k]))
        for start in range(0, batch, SLICE):  # alike in length, so that little is padding
            rows = order[start : start + SLICE]
            target = torch.from_numpy(texts.lexicon.matrix([drawn[k] for k in rows]))
            out = trunk(pad_ids([ids[k] for k in rows]))
            known = target.square().sum(dim=1) > 0.5
            loss = (1 - F.cosine_similarity(out, target, dim=1))[known].sum() / batch
            loss.backward()  # type: ignore[no-untyped-call]
            seen += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(trunk.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 200 == 0:
            progress(f"step {step + 1}/{steps}: 1 - cosine to the lexicon {seen / 200:.4f}")
            seen = 0.0
    return trunk.eval()
