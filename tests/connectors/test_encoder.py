"""The base encoder batches, averages windows and gives the same vector alone or in company."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.encoder import Encoder, Prepared, TowerEncoder
from connectors.errors import UnsupportedMedia
from connectors.modality import Media, Modality


class Words(TowerEncoder):
    """Embeds a text as one window per word, a window as its letters' counts; images it cannot."""

    name = "test/words"
    modalities: tuple[Modality, ...] = ("text",)
    dim = 4
    fingerprint = "sha256:words"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.letters = nn.Linear(26, 4)

    def prepare(self, media: Media, modality: Modality | None = None) -> Prepared:
        assert isinstance(media, str)
        rows = torch.zeros(len(media.split()), 26)
        for row, word in zip(rows, media.split(), strict=True):
            for letter in word:
                row[ord(letter) - ord("a")] += 1
        return Prepared(self.resolve(modality), rows, length=len(rows))

    def embed_rows(self, modality: Modality, rows: Tensor) -> Tensor:
        out: Tensor = self.letters(rows)
        return out


TEXTS = ["dog", "a dog barks", "rain", "the quick brown fox"]


def test_it_is_an_encoder() -> None:
    assert isinstance(Words(), Encoder)


def test_an_item_of_many_windows_is_their_normalised_mean() -> None:
    encoder = Words()
    windows = encoder.encode(["a", "dog", "barks"])
    torch.testing.assert_close(encoder.encode(["a dog barks"])[0], F.normalize(windows.mean(0), dim=0))


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_the_batch_does_not_change_a_vector(batch_size: int) -> None:
    encoder = Words()
    alone = torch.cat([encoder.encode([text]) for text in TEXTS])
    torch.testing.assert_close(encoder.encode(TEXTS, batch_size=batch_size), alone)


def test_vectors_have_unit_length_and_are_cut_from_the_graph() -> None:
    vectors = Words().encode(TEXTS)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(TEXTS)))
    assert not vectors.requires_grad


def test_nothing_in_is_nothing_out() -> None:
    assert Words().encode([]).shape == (0, 4)


def test_a_tower_it_lacks_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedMedia, match="'image'"):
        Words().encode(["x"], modality="image")


def test_a_batch_holds_one_modality() -> None:
    encoder = Words()
    text = encoder.prepare("dog")
    with pytest.raises(ValueError, match="one modality"):
        encoder.encode_prepared([text, Prepared("image", text.rows, text.length)])
