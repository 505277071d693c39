"""The cache of vectors of content seen before: identical content is embedded once.

Holds `VectorCache`, least recently used out first, by content hash, modality and encoder fingerprint: a new
encoder never meets an old vector. A vector names its connector; a new connector projects it anew.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from connectors.modality import Modality
from connectors.space import UnifiedSpace
from service.engine.embedding import Vectors, project_again


@dataclass(frozen=True, slots=True)
class CacheKey:
    """The content and the encoder that decide a vector."""

    sha256: str
    modality: Modality
    encoder: str


class VectorCache:
    """A bounded map from `CacheKey` to `Vectors`. Safe from any thread."""

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        self._items: OrderedDict[CacheKey, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: CacheKey) -> Vectors | None:
        """Return the vectors of this content, if they are kept."""
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
            return found

    def get_in(self, space: UnifiedSpace, key: CacheKey) -> Vectors | None:
        """Return the vectors of this content under the connector of `space`, if they are kept."""
        vectors = self.get(key)
        if vectors is None or vectors.connector == space.connector_version:
            return vectors
        vectors = project_again(space, key.modality, vectors)
        self.put(key, vectors)
        return vectors

    def put(self, key: CacheKey, vectors: Vectors) -> None:
        """Keep vectors, dropping the least recently used past the bound."""
        with self._lock:
            self._items[key] = vectors
            self._items.move_to_end(key)
            while len(self._items) > self._max_items:
                self._items.popitem(last=False)
