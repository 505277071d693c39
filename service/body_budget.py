"""How many bytes of request bodies the service holds in memory at once, over all requests.

Bodies are read before anybody knows what is in them, so the bound of each request alone would let a few dozen
large ones fill the memory. Small ones are not counted: clients that send a large one slowly keep nobody out
who has little to say.
"""

from service.errors import Overloaded

SMALL_BYTES = 256 * 1024
"""A body up to this size is not counted."""
RETRY_SECONDS = 2
"""When one turned away should come again: how long others take to send theirs is not known."""


class BodyBudget:
    """The bytes held. Used from the event loop only."""

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most

    def check(self, size: int, own: int = 0) -> None:
        """Raise `Overloaded` where a body of this size, `own` of it held, does not fit beside the others.

        Alone it always does.
        """
        others = self.held - own
        if size > SMALL_BYTES and others and others + size > self._most:
            raise Overloaded(
                f"other requests' bodies have {others:,} bytes; {size:,} more would pass "
                f"{self._most:,} (ISTHMUS_BODY_BYTES); try again in {RETRY_SECONDS} s",
                RETRY_SECONDS,
            )


class Share:
    """What one request holds of a budget."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._held = 0

    def hold(self, received: int) -> None:
        """Hold so many bytes, all that was received. Raises `Overloaded`, and then holds what it did."""
        if received <= SMALL_BYTES:
            return
        self._budget.check(received, self._held)
        self._budget.held += received - self._held
        self._held = received

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._budget.held -= self._held
        self._held = 0
