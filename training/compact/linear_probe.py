"""The linear probe: how well one linear layer on frozen features tells classes apart.

Given a teacher's features of clips that train and of clips that are held out, with their names, it gives back
the accuracy on the latter. It is the usual yardstick of features, and has labels where zero-shot has none.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DECAY = 1e-2


def linear_probe(features: Tensor, names: Sequence[str], held: Tensor, held_names: Sequence[str]) -> float:
    """Accuracy on `held` [m, d] of a logistic regression on `features` [n, d], among the names held out.

    Features are standardised; the weights are penalised by `DECAY` / 2 times their sum of squares.
    """
    classes = {name: k for k, name in enumerate(sorted(set(held_names)))}
    kept = [k for k, name in enumerate(names) if name in classes]
    train, labels = features[kept], torch.tensor([classes[names[k]] for k in kept])
    mean, spread = train.mean(dim=0), train.std(dim=0) + 0.1 * train.std()
    rows = (train - mean) / spread
    layer = nn.Linear(rows.shape[1], len(classes))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        value = F.cross_entropy(layer(rows), labels) + DECAY / 2 * layer.weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        guessed = layer((held - mean) / spread).argmax(dim=1)
    right = [classes[name] == int(guess) for name, guess in zip(held_names, guessed, strict=True)]
    return sum(right) / len(right)
