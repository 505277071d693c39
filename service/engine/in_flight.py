"""Embeddings under way, shared by everyone who sent the same content at the same time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from service.engine.batch import Encoded
from service.engine.cache import CacheKey, VectorCache


@dataclass(slots=True)
class InFlight:
    """One job under way, and how many wait for it."""

    future: "asyncio.Future[Encoded]"
    waiters: int = 0


class InFlightRequests:
    """Jobs by content. What lands goes into the cache; what the last waiter leaves is cancelled."""

    def __init__(self, cache: VectorCache) -> None:
        self._cache = cache
        self._in_flight: dict[CacheKey, InFlight] = {}

    async def join(self, key: CacheKey, start: "Callable[[], asyncio.Future[Encoded]]") -> Encoded:
        """Wait for the job of this content, starting it unless it is under way or has landed meanwhile."""
        flight = self._in_flight.get(key)
        if flight is None:
            # Whoever decoded it looked into the cache before that; another's job may have landed since.
            if (vectors := self._cache.get(key)) is not None:
                return Encoded(vectors, waited=0.0, took=0.0)
            flight = self._in_flight[key] = InFlight(start())
        flight.waiters += 1
        try:
            # Shielded: one waiter's cancellation is no business of the others.
            encoded = await asyncio.shield(flight.future)
        finally:
            flight.waiters -= 1
            if not flight.waiters:
                flight.future.cancel()
                self._in_flight.pop(key, None)
        self._cache.put(key, encoded.vectors)
        return encoded
