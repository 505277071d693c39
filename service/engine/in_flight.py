"""In-flight requests: single flight for content that several clients send at the same time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from service.engine.batch import Encoded
from service.engine.cache import CacheKey, VectorCache


@dataclass(slots=True)
class InFlight:
    """One embedding under way, and how many wait for it."""

    future: "asyncio.Future[Encoded]"
    waiters: int = 0


class InFlightRequests:
    """The embeddings under way, by content.

    One that is done goes into the cache; one that its last waiter leaves is cancelled.
    """

    def __init__(self, cache: VectorCache) -> None:
        self._cache = cache
        self._in_flight: dict[CacheKey, InFlight] = {}

    async def join(self, key: CacheKey, start: "Callable[[], asyncio.Future[Encoded]]") -> Encoded:
        """Return this content's embedding; start it unless it is under way or cached by now."""
        in_flight = self._in_flight.get(key)
        if in_flight is None:
            # The cache was looked at before decoding; another request may have embedded it since.
            if (vectors := self._cache.get(key)) is not None:
                return Encoded(vectors, waited=0.0, took=0.0)
            in_flight = self._in_flight[key] = InFlight(start())
        in_flight.waiters += 1
        try:
            # Shielded: one waiter's cancellation is no business of the others.
            encoded = await asyncio.shield(in_flight.future)
        finally:
            in_flight.waiters -= 1
            if not in_flight.waiters:
                in_flight.future.cancel()
                self._in_flight.pop(key, None)
        self._cache.put(key, encoded.vectors)
        return encoded
