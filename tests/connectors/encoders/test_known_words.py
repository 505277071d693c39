"""A word is known by what its tokens are in each kind of vocabulary."""

import pytest

from connectors.encoders.known_words import KnownByteWords, KnownWords, known_words

PIECES = {
    "<unk>": False,
    "</s>": False,
    "▁": False,
    "▁dog": True,
    "##s": True,
    "a</w>": True,
    ".": False,
    "<0xE6>": False,
    "🐕": True,
}
BYTES = [chr(byte) for byte in (*range(33, 127), *range(161, 173), *range(174, 256))]
BYTES += [chr(256 + place) for place in range(256 - len(BYTES))]
VOCABULARY = ["<s>", *BYTES, "do", "Ġdo", "Ġx", "..", "Ã©", "æĹ¥", "æĹ"]


@pytest.mark.parametrize("token", PIECES)
def test_pieces_with_a_letter_or_a_pictograph_are_known(token: str) -> None:
    vocabulary = {each: k for k, each in enumerate(PIECES)}
    words = known_words(vocabulary, special=[0, 1])
    assert isinstance(words, KnownWords)
    assert words.any_in([0, vocabulary[token], 1]) is PIECES[token]


@pytest.mark.parametrize(
    ("tokens", "known"),
    [
        (["<s>"], False),
        (["do"], True),
        (["Ġdo"], True),
        (["Ġx", "q", "z"], False),  # spelt letter by letter
        (["Ġx", "q"], True),  # a word of two letters
        (["1"], True),
        ([".."], False),
        (["Ã©"] * 3, False),  # e with an accent, thrice
        (["æĹ¥"], True),  # an ideograph
        (["æĹ", "¥"], False),  # the same in two parts
    ],
)
def test_tokens_of_bytes_are_known_where_they_join_letters(tokens: list[str], known: bool) -> None:
    words = known_words({each: k for k, each in enumerate(VOCABULARY)}, special=[0])
    assert isinstance(words, KnownByteWords)
    assert words.any_in([VOCABULARY.index(token) for token in tokens]) is known
