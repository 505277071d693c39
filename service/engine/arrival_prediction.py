"""Whether those who were just answered ask again at once, and are worth a moment's wait.

Eight clients that each send their next item when they have their answer meet a worker that takes what waits
in two camps: one item goes alone while seven come back, then those seven while the one does. Two batches in
place of one are more work (of eight short texts a third), and everybody waits for both. `ArrivalPrediction`
is told what is asked and answered, and says how long the next batch had better wait, and for how many.
"""

WINDOW = 0.008
"""Seconds after its answer within which a client has come back: eight replies, read and asked anew."""
WEIGHT = 0.2
"""Weight of the latest batch in the measured share that comes back."""
WORTH = 0.5
"""Share that comes back from which on they are waited for."""


class ArrivalPrediction:
    """What is known of an encoder's clients. Not thread-safe: its owner holds the lock; times in seconds."""

    def __init__(self) -> None:
        self._share = 0.0
        self._answered = self._came = 0
        self._at = -WINDOW
        self._expected = 0
        self._longest = 0.0

    def asked(self, now: float) -> None:
        """An item was asked for."""
        if now - self._at < WINDOW:
            self._came += 1

    def answered(self, items: int, waiting: int, most: int, took: float, now: float) -> None:
        """A batch that had the processor to itself was answered; `waiting` others wait by now.

        `items` are those of requests that are done with it, whose clients may come back; `most` is how many a
        batch like it may hold.
        """
        if self._answered:
            self._share += (min(1.0, self._came / self._answered) - self._share) * WEIGHT
        self._answered, self._came, self._at = items, 0, now
        self._expected = min(items + waiting, most)
        self._longest = min(WINDOW, took)

    def worth_waiting(self, waiting: int, now: float) -> tuple[int, float]:
        """How many items the next batch should wait for, and for how many seconds at most, 0 if not at all.

        Never for longer than the batch before it took, and only right after that.
        """
        left = self._at + self._longest - now
        if self._share < WORTH or waiting >= self._expected or left <= 0:
            return waiting, 0.0
        return self._expected, left
