"""Decoding goes on while the network is busy, and never far ahead of it."""

import threading

import pytest
import torch
from tiny_encoder import TinyEncoder
from waiting import until

from connectors.errors import InvalidMedia
from training.encoding import AHEAD, encoded_batches
from training.examples import Example

TEXTS = [Example(str(row), text=f"text {row}") for row in range(12)]
BATCHES = [TEXTS[row : row + 2] for row in range(0, 12, 2)]


class Watched(TinyEncoder):
    """Counts what is decoded; its network waits until `needed` more than it was given are decoded."""

    def __init__(self, needed: int = 0) -> None:
        super().__init__()
        self.decoded, self.given, self.needed = 0, 0, needed
        self.changed = threading.Condition()

    def prepare(self, item, modality):
        if item == "text 3":
            raise InvalidMedia("text 3 cannot be read")
        with self.changed:
            self.decoded += 1
            self.changed.notify_all()
        return super().prepare(item, modality)

    def encode_prepared(self, batch):
        with self.changed:
            self.given += len(batch)
            wanted = min(self.given + self.needed, len(TEXTS) - 1)
            assert self.changed.wait_for(lambda: self.decoded >= wanted, timeout=20)
        return super().encode_prepared(batch)


def test_the_next_batch_is_decoded_while_one_is_in_the_network():
    """With decoding and network one after the other, the network would wait in vain."""
    encoder = Watched(needed=1)
    found = list(encoded_batches(encoder, "text", BATCHES, workers=1))

    assert [example.id for batch in found for example in batch.examples] == [
        example.id for example in TEXTS if example.id != "3"
    ]
    assert [skip.message for batch in found for skip in batch.skipped] == ["text 3 cannot be read"]
    expected = TinyEncoder().encode([str(e.text) for e in TEXTS if e.id != "3"], "text")
    torch.testing.assert_close(torch.cat([batch.vectors for batch in found]), expected)


def test_decoded_items_do_not_pile_up():
    """What is to be decoded is taken while a batch is asked for; all that was taken is decoded in the end."""
    encoder, taken = Watched(), list[list[Example]]()
    batches = encoded_batches(encoder, "text", (taken.append(each) or each for each in BATCHES), workers=2)
    next(batches)
    assert taken == BATCHES[: 1 + AHEAD]
    readable = 2 * (1 + AHEAD) - 1  # text 3 is among them
    until(lambda: encoder.decoded >= readable)
    assert encoder.decoded == readable
    batches.close()


def test_an_error_of_the_network_is_raised():
    class Broken(TinyEncoder):
        def encode_prepared(self, batch):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(encoded_batches(Broken(), "text", BATCHES))
