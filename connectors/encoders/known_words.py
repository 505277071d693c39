"""Whether a tower knows any word of a text, told by the text's tokens.

A text of words that a vocabulary lacks (another script, emoji, punctuation alone) has a vector all the same,
and one that says nothing about the text. Given a vocabulary and the ids of a text, `KnownWords` and
`KnownByteWords` tell such a text from others, in the time that finding one known token takes.
docs/encoders.md has the rule.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence

_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
"""SentencePiece's tokens for the bytes of what its vocabulary lacks."""
_MARKS = re.compile(r"^##|▁|</w>")
"""Marks of where words begin, go on or end: WordPiece's, SentencePiece's, and that of CLIP's BPE."""
_WORD = re.compile(r"[^\W_]+")
_SHORT = 2
"""Letters of an ASCII word that is known though its letters are not joined to one token."""
_IDEOGRAPHS = ("\u3400", "\u9fff")
"""The first and the last of the Chinese characters in common use."""
_BLANK = "Ġ"
"""The symbol of a blank in a vocabulary of bytes."""


class KnownWords:
    """The tokens that carry meaning in a vocabulary with a token for the unknown, among the `special` ids."""

    def __init__(self, vocabulary: Mapping[str, int], special: Collection[int]) -> None:
        self._known = frozenset(
            index
            for token, index in vocabulary.items()
            if index not in special and not _BYTE_TOKEN.fullmatch(token) and _means(_MARKS.sub("", token))
        )

    def any_in(self, ids: Sequence[int]) -> bool:
        """Return whether one of a text's tokens is known."""
        return not self._known.isdisjoint(ids)


class KnownByteWords:
    """The tokens that carry meaning in a vocabulary that spells what it lacks in bytes.

    A word is known where one of its tokens joins two letters, or is an ideograph or a pictograph; an ASCII
    word of one or two letters or digits always is.
    """

    def __init__(self, vocabulary: Mapping[str, int], special: Collection[int]) -> None:
        known, others = set(), {}
        for token, index in vocabulary.items():
            if index in special:
                continue
            spelt = bytes(_BYTES[symbol] for symbol in token.replace("</w>", _BLANK) if symbol in _BYTES)
            text = _decoded(spelt)
            if sum(map(str.isalnum, text)) > 1 or any(map(_is_sign, text)):
                known.add(index)
            else:
                others[index] = spelt
        self._known = frozenset(known)
        self._others = others

    def any_in(self, ids: Sequence[int]) -> bool:
        """Return whether a word of a text, given by its tokens, is known."""
        if not self._known.isdisjoint(ids):
            return True
        spelt = b"".join([self._others.get(index, b"") for index in ids]).decode("utf-8", "replace")
        return any(len(word) <= _SHORT and word.isascii() for word in _WORD.findall(spelt))


def known_words(vocabulary: Mapping[str, int], special: Collection[int]) -> KnownWords | KnownByteWords:
    """Return the known words of a vocabulary of either kind."""
    in_bytes = "▁" not in vocabulary and all(symbol in vocabulary for symbol in _BYTES)
    return (KnownByteWords if in_bytes else KnownWords)(vocabulary, special)


def _means(text: str) -> bool:
    """Return whether there is a letter, a digit or a pictograph in it."""
    return any(c.isalnum() or _is_sign(c) for c in text)


def _is_sign(character: str) -> bool:
    """Return whether one character is a word: an ideograph, or a pictograph such as an emoji."""
    if character.isascii():
        return False
    return _IDEOGRAPHS[0] <= character <= _IDEOGRAPHS[1] or unicodedata.category(character) == "So"


def _decoded(spelt: bytes) -> str:
    """Return the text of bytes, none where they begin or end within a character."""
    try:
        return spelt.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _byte_symbols() -> dict[str, int]:
    """The printable symbol that GPT-2's, RoBERTa's and CLIP's vocabularies have for each byte."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = sorted(set(range(256)) - set(shown))
    symbols = {chr(byte): byte for byte in shown}
    return symbols | {chr(256 + place): byte for place, byte in enumerate(hidden)}


_BYTES = _byte_symbols()
