"""Arrival prediction: a moment's wait for clients that ask again as soon as they are answered.

Eight clients that each send their next item when they have their answer split into two camps at a worker that
takes what waits: one item goes alone while seven arrive, then those seven while the one does. Two batches in
place of one are more work (a third more for eight short texts), and everybody waits for both.
`ArrivalPrediction` records what is asked and answered, and predicts for how many items, and for how long, the
next batch should wait.
"""

WINDOW = 0.008
"""Seconds after an answer within which its client has asked again: eight read their replies and send anew."""
WEIGHT = 0.2
"""Weight of the latest batch in the measured share of clients that ask again."""
WORTH = 0.5
"""Least share of clients asking again that makes them worth waiting for."""


class ArrivalPrediction:
    """A record of an encoder's clients. Not thread-safe: its owner holds the lock; times in seconds."""

    def __init__(self) -> None:
        self._share = 0.0
        self._answered = self._arrived = 0
        self._answered_at = -WINDOW
        self._expected = 0
        self._longest = 0.0

    def asked(self, now: float) -> None:
        """Record that an item was asked for."""
        if now - self._answered_at < WINDOW:
            self._arrived += 1

    def answered(self, items: int, waiting: int, most: int, took: float, now: float) -> None:
        """Record that a batch that had the processor to itself was answered; `waiting` others wait by now.

        `items` counts those whose requests are done with it, and whose clients may ask again; `most` is how
        many a batch like it may hold.
        """
        if self._answered:
            self._share += (min(1.0, self._arrived / self._answered) - self._share) * WEIGHT
        self._answered, self._arrived, self._answered_at = items, 0, now
        self._expected = min(items + waiting, most)
        self._longest = min(WINDOW, took)

    def worth_waiting(self, waiting: int, now: float) -> tuple[int, float]:
        """Return how many items the next batch should wait for, and for at most how many seconds (0: not).

        The wait is never longer than the batch before took, and only right after that.
        """
        left = self._answered_at + self._longest - now
        if self._share < WORTH or waiting >= self._expected or left <= 0:
            return waiting, 0.0
        return self._expected, left
