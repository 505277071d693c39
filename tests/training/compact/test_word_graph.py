from pathlib import Path

import numpy as np

from training.compact.word_graph import build_lexicon, centred_names, company, singulars, words_of
from training.compact.word_lists import Synset, read_clip_names

NAMES = ["dog", "cat", "car", "washing machine", "tree"]
SYNSETS = [
    Synset(("dog", "domestic dog"), "a member of the genus Canis", ("canine",), "animal"),
    Synset(("cat",), "a feline", ("feline",), "animal"),
    Synset(("car",), "a motor vehicle", ("vehicle",), "artifact"),
    Synset(("puppy",), "a young dog", ("dog",), "animal"),
    Synset(("corgi",), "a short kind of dog", ("puppy",), "animal"),
    Synset(("convertible",), "a car with a folding top", ("car",), "artifact"),
]
CAPTIONS = ["a dog is barking", "the dog keeps barking", "barking of a dog", "a dog barking far away"] * 3
CAPTIONS += ["a car honking", "honking of a car", "car honking twice", "honking car"] * 3


def lexicon():
    vectors = np.eye(5, dtype=np.float32)
    return build_lexicon(
        NAMES, vectors, SYNSETS, CAPTIONS, [("dog face", ["pet"])], [("woof", "noise of a dog")]
    )


def test_names_keep_their_own_vectors() -> None:
    words = lexicon()
    for k, name in enumerate(NAMES):
        assert np.allclose(words.vector(name), np.eye(5)[k], atol=1e-5)


def test_unseen_words_land_near_their_kin() -> None:
    words = lexicon()
    for word, near in (
        ("puppy", "dog"), ("corgi", "dog"), ("convertible", "car"), ("barking", "dog"),
        ("honking", "car"), ("pet", "dog"), ("woof", "dog"), ("puppies", "dog"),
    ):  # fmt: skip
        similarity = words.matrix(NAMES) @ words.vector(word)
        assert NAMES[int(similarity.argmax())] == near, word


def test_the_longest_phrase_wins_and_stop_words_say_nothing() -> None:
    words = lexicon()
    assert [p for p, _ in words.phrases("the sound of a washing machine")] == ["washing machine"]
    assert np.allclose(words.vector("a photo of a dog"), words.vector("dog"))
    assert not words.vector("of the and").any()


def test_names_are_centred_on_what_prompts_share(data_folder: Path) -> None:
    names, vectors = read_clip_names(data_folder)
    assert names == ["dog", "cat", "chair", "hot dog"]
    reduced = centred_names(vectors, 3)
    assert reduced.shape == (4, 3)
    assert np.allclose(np.linalg.norm(reduced, axis=1), 1, atol=1e-5)
    assert (reduced @ reduced.T).min() < 0


def test_company_is_what_occurs_together_more_than_by_chance() -> None:
    near = company(CAPTIONS)
    assert near["barking"][0][0] == "dog"
    assert "car" not in dict(near["barking"])


def test_inflections_are_stripped() -> None:
    assert "puppy" in singulars("puppies")
    assert "run" in singulars("running")
    assert "glas" not in singulars("glass")
    assert words_of("A dog's bark, 2x!") == ["a", "dog", "s", "bark", "2x"]
