"""Views: the embeddings of one modality, native and unified, with what each row is.

`DatasetViews` makes them of media through a `UnifiedSpace`, `views_of_features` of stored feature sets
through connectors alone. Evaluation and the report take nothing else.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from connectors.connector import Connector
from connectors.errors import ConfigError
from connectors.modality import Modality
from connectors.space import UnifiedSpace
from training.encoding import Skipped, encoded_batches
from training.examples import Example
from training.feature_set import FeatureSet, open_feature_set, unit_rows
from training.metrics import class_vectors
from training.readers import Dataset


@dataclass(frozen=True, slots=True)
class View:
    """The embeddings of one modality: `native` [n, d] and `unified` [n, dim], with ids and labels a row.

    `groups`: what each row was made from, where several were (see `Example`); by default nothing is known.
    """

    name: str
    space: str
    native: Tensor
    unified: Tensor
    ids: Sequence[str]
    labels: Sequence[str | None]
    groups: Sequence[str | None] = ()

    def clusters(self) -> list[str]:
        """What the bootstrap draws whole: each row's group, or where it has none the item it belongs to."""
        groups = self.groups or [None] * len(self.ids)
        return [name if group is None else group for name, group in zip(self.ids, groups, strict=True)]


@dataclass(frozen=True, slots=True)
class Classes:
    """What zero-shot classification chooses from: names, and a unified vector each [c, dim]."""

    names: Sequence[str]
    vectors: Tensor


class DatasetViews:
    """Embeds the examples of datasets through a space, each medium once however many datasets hold it."""

    def __init__(
        self,
        space: UnifiedSpace,
        *,
        batch_size: int = 32,
        workers: int = 2,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.space = space
        self.skipped: list[Skipped] = []
        self._batch_size, self._workers, self._on_progress = batch_size, workers, on_progress
        self._native: dict[tuple[Modality, Example], Tensor | None] = {}
        self._expected = 0

    def expect(self, datasets: Sequence[Dataset]) -> None:
        """Count what these datasets will need embedded, for `on_progress`."""
        media = {
            (modality, _medium(example))
            for dataset in datasets
            for modality, examples in (*dataset.examples.items(), ("text", _prompts(dataset)))
            if modality in self.space.modalities
            for example in examples
        }
        self._expected = len(media)

    def views(self, dataset: Dataset) -> list[View]:
        """One view for each modality of the dataset that the space embeds."""
        served = [(m, e) for m, e in dataset.examples.items() if m in self.space.modalities and e]
        return [view for m, e in served if (view := self._view(m, e)) is not None]

    def classes(self, dataset: Dataset) -> Classes | None:
        """The unified vectors of the dataset's classes, or None where it has none or text is not served."""
        if not dataset.classes or "text" not in self.space.modalities:
            return None
        native = self._encode("text", _prompts(dataset))
        if any(vector is None for vector in native):
            raise ConfigError(f"{dataset.name}: a class name cannot be embedded: {self.skipped[-1].message}")
        unified = self.space.project("text", torch.stack([v for v in native if v is not None]))
        by_class = unified.reshape(len(dataset.classes), -1, unified.shape[1])
        return Classes(dataset.classes, class_vectors(by_class))

    def _view(self, modality: Modality, examples: Sequence[Example]) -> View | None:
        native = self._encode(modality, examples)
        kept = [(e, v) for e, v in zip(examples, native, strict=True) if v is not None]
        if not kept:
            return None
        vectors = torch.stack([vector for _, vector in kept])
        return View(
            name=modality,
            space=self.space.space_of(modality),
            native=vectors,
            unified=self.space.project(modality, vectors),
            ids=[example.id for example, _ in kept],
            labels=[example.label for example, _ in kept],
            groups=[example.group for example, _ in kept],
        )

    def _encode(self, modality: Modality, examples: Sequence[Example]) -> list[Tensor | None]:
        media = [_medium(example) for example in examples]
        new = [m for m in dict.fromkeys(media) if (modality, m) not in self._native]
        batches = (new[i : i + self._batch_size] for i in range(0, len(new), self._batch_size))
        encoder = self.space.encoder_of(modality)
        for batch in encoded_batches(encoder, modality, batches, workers=self._workers):
            for example, vector in zip(batch.examples, batch.vectors, strict=True):
                self._native[modality, example] = vector
            for skip in batch.skipped:
                self._native[modality, skip.example] = None
            self.skipped += batch.skipped
            self._on_progress(len(self._native), self._expected)
        return [self._native[modality, medium] for medium in media]


def _prompts(dataset: Dataset) -> list[Example]:
    """A text for each class and template, class by class."""
    return [
        Example(name, text=template.format(name))
        for name in dataset.classes
        for template in dataset.templates
    ]


def _medium(example: Example) -> Example:
    """The example without what only says how it is used: equal for one medium in two datasets."""
    name = example.text if example.source is None else str(example.source)
    return Example(name or "", text=example.text, source=example.source, row=example.row, span=example.span)


def read_feature_sets(root: Path) -> list[FeatureSet]:
    """Every feature set below a folder. Raises `ConfigError` where there is none."""
    found = sorted(path.parent for path in root.rglob("vectors.npy"))
    if not found:
        raise ConfigError(f"{root} holds no feature sets (directories with vectors.npy and manifest.json)")
    return [open_feature_set(path) for path in found]


def views_of_features(connectors: Sequence[Connector], sets: Sequence[FeatureSet]) -> list[View]:
    """Views of stored native vectors, for those that a connector has a head for.

    Where several are of one space and modality, their folders tell them apart.

    Raises `FingerprintMismatch` where a set comes from another encoder than the connector was trained on,
    and `ConfigError` for vectors that are zero or not finite.
    """
    views = []
    for features in sets:
        space, modality = features.manifest.space, features.manifest.modality
        connector = next((c for c in connectors if c.has_head(space, modality)), None)
        if connector is None:
            continue
        connector.check_encoders({space: features.manifest.encoder.fingerprint})
        native = features.tensor()
        unit_rows(str(features.path), native)
        views.append((features, stored_view(features, native, connector.project(space, modality, native))))
    times = Counter(view.name for _, view in views)
    return [
        view if times[view.name] == 1 else replace(view, name=f"{view.name} ({features.path.name})")
        for features, view in views
    ]


def stored_view(features: FeatureSet, native: Tensor, unified: Tensor) -> View:
    """The view of a feature set's items, given its vectors."""
    return View(
        name=f"{features.manifest.space}/{features.manifest.modality}",
        space=features.manifest.space,
        native=native,
        unified=unified,
        ids=[str(item["id"]) for item in features.items],
        labels=[item.get("label") for item in features.items],
        groups=[item.get("group") for item in features.items],
    )
