"""Heads that make a space: media features and text features brought to agree, without hard labels.

Given rows of media features, each with the text vector of what it shows, it trains a media head and, where
the space has coordinates of its own, a text head. Two texts that mean nearly the same count as nearly
the same positive, in the proportion of their cosine: labels repeat and overlap, and telling a puppy from
a dog is not worth tearing them apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.compact.optimisers import warm_cosine
from training.compact.teachers import Classifier


@dataclass(frozen=True)
class Rows:
    """Media of one source: features [n, d], text vectors [n, e] (unit), sampling weights [n]."""

    features: Tensor
    words: Tensor
    weight: Tensor

    @classmethod
    def of(cls, features: Tensor, words: Tensor, labels: Sequence[str], share: float) -> "Rows":
        """Rows sampled by 1 / sqrt(how often their label occurs), `share` in all."""
        _, inverse, count = np.unique(np.array(labels), return_inverse=True, return_counts=True)
        weight = torch.from_numpy(1.0 / np.sqrt(count[inverse])).float()
        return cls(features, words, share * weight / weight.sum())


def classifier_rows(classifier: Classifier, features: npt.NDArray[np.float32]) -> Tensor:
    """A teacher's class weights as if they were media: features of its ideal example of each class.

    Each row of the last layer, centred and scaled to the spread of real features about their mean;
    once as strong as real features, once half as strong again. [2 * classes, d].
    """
    rows = classifier.weight - classifier.weight.mean(axis=0)
    rows = rows / rows.std(axis=1, keepdims=True)
    deviation = features - features.mean(axis=0)
    size = np.sqrt(np.mean(deviation**2))
    both = np.concatenate([1.0 * size * rows, 1.5 * size * rows])
    ideal = np.maximum(features.mean(axis=0) + both, 0.0)
    return torch.from_numpy(ideal.astype(np.float32))


def score_words(
    classifier: Classifier, class_vectors: Tensor, features: npt.NDArray[np.float32], top: int = 5
) -> tuple[Tensor, Tensor]:
    """A teacher's class scores as text vectors: unit vectors [n, e], and how sure it was [n].

    The mean of the `top` classes' name vectors, weighted by their probability.
    """
    logits = torch.from_numpy(classifier.scores(features))
    probability = logits.softmax(dim=1)
    values, at = probability.topk(top, dim=1)
    mixed = (values[:, :, None] * class_vectors[at]).sum(dim=1)
    return F.normalize(mixed, dim=1), values.sum(dim=1)


def soft_contrast(a: Tensor, b: Tensor, words: Tensor, temperature: float) -> Tensor:
    """Symmetric cross-entropy of a @ b.T (rows unit) against the agreement of their texts."""
    logits = a @ b.T / temperature
    target = (words @ words.T / 0.07).softmax(dim=1)
    return -0.5 * (
        (target * logits.log_softmax(dim=1)).sum(dim=1).mean()
        + (target * logits.T.log_softmax(dim=1)).sum(dim=1).mean()
    )


def structure_loss(head: nn.Module, words: Tensor) -> Tensor:
    """How far a text head changes the cosines between texts [n, e]."""
    out = F.normalize(head(words), dim=1)
    return (out @ out.T - words @ words.T).square().mean()


@dataclass(frozen=True, slots=True)
class AlignPlan:
    """How long and how hard to train the heads."""

    steps: int = 1500
    batch: int = 512
    lr: float = 1e-3
    decay: float = 0.05
    temperature: float = 0.06
    noise: float = 0.25
    dropout: float = 0.2
    seed: int = 0


def align(
    media_head: nn.Module,
    text_head: nn.Module,
    sources: Sequence[Rows],
    texts: Tensor,
    plan: AlignPlan,
    progress: Callable[[str], None],
) -> None:
    """Train both heads in place. `texts` [n, e] are text vectors whose structure is to be kept."""
    torch.manual_seed(plan.seed)
    features = torch.cat([s.features for s in sources])
    words = torch.cat([s.words for s in sources])
    weight = torch.cat([s.weight for s in sources])
    spread = features.std(dim=0)
    own_text = any(True for _ in text_head.parameters())
    parameters = [*media_head.parameters(), *text_head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=plan.lr, weight_decay=plan.decay, fused=True)
    seen = 0.0
    for step in range(plan.steps):
        rows = torch.multinomial(weight, plan.batch, replacement=True)
        x = features[rows] + plan.noise * spread * torch.randn(plan.batch, features.shape[1])
        x = F.dropout(x, plan.dropout)
        a = F.normalize(media_head(x), dim=1)
        b = F.normalize(text_head(words[rows]), dim=1)
        loss = soft_contrast(a, b, words[rows], plan.temperature) + 2 * (1 - (a * b).sum(1)).mean()
        if own_text:
            loss = loss + 20 * structure_loss(text_head, texts[torch.randint(len(texts), (512,))])
        for group in optimiser.param_groups:
            group["lr"] = plan.lr * warm_cosine(step, plan.steps, 50)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        seen += float(loss.detach())
        if (step + 1) % 250 == 0:
            progress(f"step {step + 1}/{plan.steps}: loss {seen / 250:.4f}")
            seen = 0.0
