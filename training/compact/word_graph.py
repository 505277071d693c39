"""Meaning for any English word: real CLIP name vectors, spread over WordNet and captions.

Given about two thousand class names with their CLIP text vectors, WordNet's noun senses, captions and
keyword lists, it gives back a vector for every word and phrase they mention. Names keep their own
(centred) vectors; everything else is the harmonic extension: the weighted mean of what defines it, a
phrase of its senses, a sense of its other lemmas, hypernyms and gloss, a caption word of its company.
(Zhu, Ghahramani and Lafferty 2003, label propagation.) Vectors of words far from any name come out
short and much alike; what they all share is taken out, so that rain, fire and sirens stay apart.
"""

import math
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.compact.word_lists import Synset

Floats = npt.NDArray[np.float32]

STOP = frozenset(
    """
    a an the of in on at to for from by with and or as is are was be been being it its this that these
    those some any several one two then while into over near nearby onto off up down out there their his
    her he she they who which what when where not no very more most other another used using having has
    have had made etc such than also often usually can may will do does followed following continues
    continuously occurs happens sound sounds photo picture rendering close nearly together i you your my
    we our us me like about through during before after each both all but if so s t
    """.split()  # noqa: SIM905 - a list of a hundred quoted words hides the words
)
_WORD = re.compile(r"[a-z0-9]+")

CONCRETE = frozenset(
    ["animal", "artifact", "food", "plant", "body", "person", "object", "phenomenon", "substance"]
)
"""WordNet groups whose senses a picture or a sound most often shows."""

LONGEST = 4
"""Words in the longest phrase that is looked up."""


def words_of(text: str) -> list[str]:
    """Lower-case words of a text."""
    return _WORD.findall(text.lower())


def singulars(word: str) -> list[str]:
    """Words that a word may be an inflection of, likeliest first, without itself."""
    out = []
    if word.endswith("ies") and len(word) > 4:
        out.append(word[:-3] + "y")
    if word.endswith("es") and len(word) > 4:
        out.append(word[:-2])
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        out.append(word[:-1])
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word[: -len(ending)]
            out += [stem, stem + "e"]
            if len(stem) > 2 and stem[-1] == stem[-2]:
                out.append(stem[:-1])
    return out


@dataclass(frozen=True)
class Lexicon:
    """Vectors of words and phrases, and how much each says (inverse document frequency)."""

    rows: Mapping[str, int]
    vectors: Floats
    salience: Mapping[str, float]

    @property
    def dim(self) -> int:
        """Length of its vectors."""
        return int(self.vectors.shape[1])

    def find(self, phrase: str) -> int | None:
        """The row of a phrase or of what it is an inflection of."""
        if phrase in self.rows:
            return self.rows[phrase]
        *rest, last = phrase.split(" ")
        for stem in singulars(last):
            row = self.rows.get(" ".join([*rest, stem]))
            if row is not None:
                return row
        return None

    def phrases(self, text: str) -> list[tuple[str, int]]:
        """Longest matches from left to right, stop words left out unless there is nothing else."""
        words = words_of(text)
        found, k = [], 0
        while k < len(words):
            for size in range(min(LONGEST, len(words) - k), 0, -1):
                phrase = " ".join(words[k : k + size])
                if size == 1 and phrase in STOP:
                    continue
                row = self.find(phrase)
                if row is not None:
                    found.append((phrase, row))
                    k += size - 1
                    break
            k += 1
        return found

    def vector(self, text: str) -> Floats:
        """The salience-weighted mean of a text's phrases: unit length, or zero if none is known."""
        total = np.zeros(self.dim, dtype=np.float32)
        for phrase, row in self.phrases(text):
            total += self.salience.get(phrase, 1.0) * self.vectors[row]
        norm = float(np.linalg.norm(total))
        return total / norm if norm > 1e-6 else total

    def matrix(self, texts: Sequence[str]) -> Floats:
        """Vectors of several texts: [n, dim]."""
        return np.stack([self.vector(text) for text in texts])


def centred_names(vectors: Floats, dim: int) -> Floats:
    """Name vectors minus their mean, on their `dim` leading axes, unit length: [n, dim].

    The mean holds what all prompts share and nothing of what tells names apart.
    """
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    reduced = centred @ axes[:dim].T
    return np.asarray(reduced / np.linalg.norm(reduced, axis=1, keepdims=True), dtype=np.float32)


class _Graph:
    """Nodes by key and, for each, weighted parts that define it."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.parts: dict[int, list[tuple[int, float]]] = defaultdict(list)

    def node(self, key: str) -> int:
        return self.rows.setdefault(key, len(self.rows))

    def define(self, key: str, parts: Iterable[str], weight: float) -> None:
        """Let `key` be drawn, with `weight` in all, towards the mean of `parts`."""
        rows = [self.node(part) for part in parts]
        at = self.node(key)
        self.parts[at] += [(row, weight / len(rows)) for row in rows if row != at]

    def matrix(self) -> Tensor:
        """Row-stochastic sparse matrix of definitions."""
        i, j, w = [], [], []
        for at, parts in self.parts.items():
            total = sum(weight for _, weight in parts)
            for row, weight in parts:
                i.append(at)
                j.append(row)
                w.append(weight / total)
        size = (len(self.rows), len(self.rows))
        return (
            torch.sparse_coo_tensor(torch.tensor([i, j]), torch.tensor(w), size, check_invariants=True)
            .coalesce()
            .to_sparse_csr()
        )


def inverse_frequency(texts: Sequence[str]) -> dict[str, float]:
    """Salience of words: log of how many texts go without, 0.2 for the commonest to 1 for rare."""
    count = Counter(word for text in texts for word in set(words_of(text)))
    top = math.log(len(texts) + 1)
    return {w: max(0.2, min(1.0, 1.4 * (1 - math.log(n + 1) / top))) for w, n in count.items()}


def company(captions: Sequence[str], fewest: int = 4, most: int = 12) -> dict[str, list[tuple[str, float]]]:
    """For each caption word, the words it keeps company with, by positive mutual information."""
    sets = [set(words_of(c)) - STOP for c in captions]
    count = Counter(word for words in sets for word in words)
    together: Counter[tuple[str, str]] = Counter()
    for words in sets:
        known = sorted(w for w in words if count[w] >= fewest)
        together.update(permutations(known, 2))
    total = float(len(sets))
    out: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for (word, other), n in together.items():
        if n >= 3:
            gain = math.log(n * total / (count[word] * count[other]))
            if gain > 0.5:
                out[word].append((other, gain * math.log(1 + n)))
    return {w: sorted(near, key=lambda p: (-p[1], p[0]))[:most] for w, near in out.items()}


def build_lexicon(
    names: Sequence[str],
    vectors: Floats,
    synsets: Sequence[Synset],
    captions: Sequence[str],
    keyword_lists: Sequence[tuple[str, Sequence[str]]],
    descriptions: Sequence[tuple[str, str]],
    rounds: int = 16,
) -> Lexicon:
    """Spread name vectors [n, dim] over the graph of words.

    `keyword_lists` are (name, keywords) of pictures, `descriptions` (class name, what it is).
    """
    graph = _Graph()
    known = dict(zip(names, vectors, strict=True))
    lemmas = {lemma for synset in synsets for lemma in synset.lemmas} | set(known)
    salience = inverse_frequency([*captions, *(s.gloss for s in synsets)])

    def telling(text: str) -> list[str]:
        out = []
        for word in words_of(text):
            stems = [word, *singulars(word)]
            match = next((s for s in stems if s in lemmas), None)
            if match and word not in STOP and salience.get(word, 1.0) > 0.45:
                out.append(match)
        return out

    by_first: dict[str, list[int]] = defaultdict(list)
    for k, synset in enumerate(synsets):
        by_first[synset.lemmas[0]].append(k)
    for k, synset in enumerate(synsets):
        sense = f"#{k}"
        concrete = synset.domain in CONCRETE
        for lemma in synset.lemmas:
            graph.define(lemma, [sense], 3.0 if concrete else 1.0)
        graph.define(sense, synset.lemmas, 1.0)
        anchored = [lemma for lemma in synset.lemmas if lemma in known]
        if anchored:
            graph.define(sense, anchored, 4.0)
        parents = [
            f"#{p}"
            for h in synset.hypernyms
            for p in by_first.get(h, ())
            if synsets[p].domain == synset.domain
        ]
        if parents:
            graph.define(sense, parents, 2.0)
            for parent in parents:
                graph.define(parent, [sense], 0.1)
        gloss = telling(synset.gloss)
        if gloss:
            graph.define(sense, gloss, 1.0)
    for word, near in company(captions).items():
        total = sum(weight for _, weight in near)
        share = 4.0 if word not in lemmas else 1.0
        for other, weight in near:
            graph.define(word, [other], share * weight / total)
    for name, keywords in keyword_lists:
        for keyword in keywords:
            graph.define(keyword, [name], 0.3)
        if keywords:
            graph.define(name, keywords, 0.5)
    for name, text in descriptions:
        if parts := telling(text):
            graph.define(name, parts, 1.0)
    for phrase in list(graph.rows):  # a phrase nobody defined says what its words say
        words = [w for w in phrase.split(" ") if w not in STOP]
        if len(words) > 1 and not phrase.startswith("#"):
            graph.define(phrase, words, 0.5)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = graph.matrix()
    fixed = np.array([graph.node(name) for name in names if name in graph.rows])
    anchors = np.stack([known[name] for name in names if name in graph.rows])
    shape = (len(graph.rows), vectors.shape[1])
    meaning = np.zeros(shape, dtype=np.float32)
    for _ in range(rounds):
        meaning = (matrix @ torch.from_numpy(meaning)).numpy()
        meaning[fixed] = anchors
    combined = sharpen(meaning, fixed)
    keys = [key for key in graph.rows if not key.startswith("#")]
    extra = [name for name in names if name not in graph.rows]
    rows = {key: k for k, key in enumerate([*keys, *extra])}
    chosen = combined[[graph.rows[key] for key in keys]]
    return Lexicon(rows, np.concatenate([chosen, *(known[n][None] for n in extra)]), salience)


def sharpen(meaning: Floats, fixed: npt.NDArray[np.int64]) -> Floats:
    """Take out of all but the names what they share with each other, and let lengths l be sqrt(l).

    The common part is the mean of everything spread; it says nothing, and left in it makes every
    word far from a name a synonym of every other. The square root keeps such words audible.
    """
    loose = np.setdiff1d(np.arange(len(meaning)), fixed)
    common = meaning[loose].mean(axis=0)
    common /= max(float(np.linalg.norm(common)), 1e-9)
    out = meaning.copy()
    spread = meaning[loose]
    spread -= (spread @ common)[:, None] * common
    length = np.linalg.norm(spread, axis=1, keepdims=True)
    out[loose] = spread / np.sqrt(np.maximum(length, 1e-4))
    return out
