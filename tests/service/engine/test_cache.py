"""The cache is bounded, and keeps what was used last."""

import numpy as np

from service.engine.cache import CacheKey, VectorCache
from service.engine.embedding import Vectors


def key(name: str) -> CacheKey:
    return CacheKey(name, "text", "sha256:encoder")


VECTORS = Vectors(np.zeros(2, np.float32), np.zeros(2, np.float32), tokens=3, connector="exmcr-1")


def test_the_least_recently_used_goes_first() -> None:
    cache = VectorCache(2)
    cache.put(key("a"), VECTORS)
    cache.put(key("b"), VECTORS)
    assert cache.get(key("a")) is VECTORS
    cache.put(key("c"), VECTORS)
    assert cache.get(key("b")) is None
    assert cache.get(key("a")) is VECTORS
    assert len(cache) == 2


def test_a_cache_of_nothing_keeps_nothing() -> None:
    cache = VectorCache(0)
    cache.put(key("a"), VECTORS)
    assert cache.get(key("a")) is None


def test_another_encoder_does_not_meet_old_vectors() -> None:
    cache = VectorCache(2)
    cache.put(key("a"), VECTORS)
    assert cache.get(CacheKey("a", "text", "sha256:other")) is None
