import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from connectors.encoders.compact.sound_trunk import SoundTrunk
from connectors.encoders.compact.word_tower import WordTrunk, make_tokenizer, pad_ids, token_ids
from training.compact.alignment import (
    AlignPlan,
    Rows,
    align,
    classifier_rows,
    score_words,
    soft_contrast,
    structure_loss,
)
from training.compact.distillation import DistilPlan, batches, distil, network_input
from training.compact.teachers import Classifier
from training.compact.text_distillation import build_vocabulary, distil_words
from training.compact.texts import Texts
from training.compact.word_graph import Lexicon


def test_a_trunk_learns_what_the_pool_says_and_the_same_each_time() -> None:
    rng = np.random.default_rng(0)
    brightness = rng.integers(0, 255, (64, 1, 1, 1))
    inputs = np.clip(brightness + rng.normal(0, 4, (64, 32, 32, 3)), 0, 255).astype(np.uint8)
    answer = np.repeat(brightness.reshape(64, 1) / 100.0, 32, axis=1)
    views = {"input": inputs, "features": answer.astype(np.float16)}
    classifier = Classifier(("dark", "bright"), np.eye(2, 32, dtype=np.float32), np.zeros(2, np.float32))
    plan = DistilPlan(epochs=60, batch=32)

    def train() -> SoundTrunk:
        torch.manual_seed(0)
        trunk = SoundTrunk(3, [8, 8, 16, 16], [[16, 2, 32]], [[32, 2, 8], [32, 2, 16]])
        distil(trunk, views, classifier, plan, lambda _: None)
        return trunk

    trunk, again = train(), train()
    with torch.no_grad():
        got = trunk(network_input(inputs))
        assert torch.equal(got, again(network_input(inputs)))
    assert np.corrcoef(got[:, 0].numpy(), answer[:, 0])[0, 1] > 0.6


def test_every_row_comes_once_an_epoch() -> None:
    seen = np.concatenate(list(batches(20, 5, 4, seed=0)))
    assert sorted(seen.tolist()) == list(range(20))
    assert [b.tolist() for b in batches(20, 5, 4, 0)] == [b.tolist() for b in batches(20, 5, 4, 0)]


def test_classes_become_media_the_classifier_knows() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(10, 64)).astype(np.float32)
    classifier = Classifier(tuple("abcdefghij"), weight, np.zeros(10, np.float32))
    ideal = classifier_rows(classifier, np.abs(rng.normal(size=(50, 64))).astype(np.float32))
    classes = torch.arange(10).repeat(2)
    assert (classifier.scores(ideal.numpy()).argmax(axis=1) == classes.numpy()).all()
    vectors, sure = score_words(classifier, torch.eye(10), 20 * ideal.numpy())
    assert (vectors.argmax(dim=1) == classes).all() and (sure > 0.9).all()


def test_agreeing_texts_share_the_positive() -> None:
    words = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.05], [0.0, 1.0]]), dim=1)
    right = soft_contrast(words, words, words, 0.07)
    swapped = soft_contrast(words[[1, 0, 2]], words, words, 0.07)
    wrong = soft_contrast(words[[2, 0, 1]], words, words, 0.07)
    assert abs(right - swapped) < 0.1 < wrong - right


def test_heads_bring_media_to_their_names_and_keep_the_texts_structure() -> None:
    torch.manual_seed(0)
    words = F.normalize(torch.randn(12, 8), dim=1)
    features = (words @ torch.randn(8, 20)).repeat(20, 1) + 0.1 * torch.randn(240, 20)
    labels = [str(k) for k in range(12)] * 20
    rows = Rows.of(features, words.repeat(20, 1), labels, 1.0)
    assert abs(float(rows.weight.sum()) - 1) < 1e-5
    media, text = nn.Linear(20, 8), nn.Linear(8, 8)
    align(media, text, [rows], words, AlignPlan(steps=150, batch=64, lr=1e-2), lambda _: None)
    with torch.no_grad():
        a, b = F.normalize(media(features), dim=1), F.normalize(text(words), dim=1)
        assert ((a @ b.T).argmax(dim=1) == torch.arange(12).repeat(20)).float().mean() > 0.95
        assert structure_loss(text, words) < 0.02


def test_the_text_trunk_learns_the_lexicon_and_reads_unknown_words_in_pieces() -> None:
    rng = np.random.default_rng(0)
    names = ["dog", "cat", "car", "tree", "bell", "rain"]
    vectors = np.linalg.qr(rng.normal(size=(8, 8)))[0][:6].astype(np.float32)
    lexicon = Lexicon({name: k for k, name in enumerate(names)}, vectors, {})
    texts = Texts(lexicon, tuple(names), tuple(names), ("a dog and a cat", "rain on a car"), ("tree bell",))
    vocabulary = build_vocabulary(texts, 400)
    assert vocabulary[0] == "[PAD]" and len(set(vocabulary)) == len(vocabulary)
    torch.manual_seed(0)
    trunk = WordTrunk(len(vocabulary), 8, 1, 2, 16, 8)
    distil_words(texts, vocabulary, trunk, 80, 0, lambda _: None, batch=64, lr=5e-3)
    ids = [token_ids(make_tokenizer(vocabulary), text) for text in ("a photo of a dog", "rain and car")]
    with torch.no_grad():
        got = F.normalize(trunk(pad_ids(ids)), dim=1).numpy()
    assert got[0] @ lexicon.vector("dog") > 0.9
    assert got[1] @ lexicon.vector("rain and car") > 0.9
    assert 1 not in token_ids(make_tokenizer(vocabulary), "dogcat")
