"""How many bytes of request bodies the service holds in memory at once, over all requests.

Bodies are read before anybody knows what is in them, so the bound of each request alone would let a few dozen
large ones fill the memory. Files of a form are not counted: the larger ones are on the disk.
"""

from service.errors import Overloaded

RETRY_SECONDS = 2
"""When one turned away should come again: how long others take to send theirs is not known."""


class BodyBudget:
    """The bytes held. Used from the event loop only."""

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most

    def check(self, size: int) -> None:
        """Raise `Overloaded` where so many bytes more are too many; a body alone never is."""
        if self.held and self.held + size > self._most:
            raise Overloaded(
                f"other requests' bodies have {self.held:,} bytes; {size:,} more would pass "
                f"{self._most:,} (ISTHMUS_BODY_BYTES); try again in {RETRY_SECONDS} s",
                RETRY_SECONDS,
            )


class Share:
    """What one request holds of a budget."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._bytes = 0

    def take(self, size: int) -> None:
        """Hold so many bytes more. Raises `Overloaded`, and then does not."""
        self._budget.held -= self._bytes
        try:
            self._budget.check(self._bytes + size)
            self._bytes += size
        finally:
            self._budget.held += self._bytes

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._budget.held -= self._bytes
        self._bytes = 0
