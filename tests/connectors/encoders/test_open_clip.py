"""CLIP is open_clip's, exactly; what would give wrong vectors is refused with the reason."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from connectors.encoders.clip_tokens import ClipTokens, OtherTokens
from connectors.encoders.open_clip import load
from connectors.errors import CheckpointError, ConfigError, IntegrityError, InvalidMedia, MissingFiles
from connectors.registry import load_encoder

TEXTS = [
    "a dog",
    "Rain on a tin roof,   at night",
    "one two three four five six seven eight nine ten eleven twelve " * 10,
    "é ü 漢字 🙂",
]


def picture(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def small(open_clip, tmp_path_factory):
    """A small QuickGELU model with random weights, and its file."""
    torch.manual_seed(0)
    model = open_clip.CLIP(**open_clip.get_model_config("small-quickgelu")).eval()
    path = tmp_path_factory.mktemp("weights") / "small.pt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, path)
    return model, path


def test_vit_b_32_gives_the_vectors_of_open_clip(open_clip, tmp_path):
    path = tmp_path / "clip.safetensors"
    torch.manual_seed(0)
    model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32-quickgelu")).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    with torch.inference_mode():
        texts = F.normalize(model.encode_text(open_clip.tokenize(TEXTS[:2])), dim=-1)
        pixels = torch.randn(1, 3, 224, 224)
        image = F.normalize(model.encode_image(pixels), dim=-1)
    del model

    encoder = load_encoder("open_clip/ViT-B-32-quickgelu", path)
    assert encoder.dim == 512
    assert torch.allclose(encoder.encode(TEXTS[:2], "text"), texts, atol=1e-5)
    with torch.inference_mode():
        found = F.normalize(encoder.embed_rows("image", pixels), dim=-1)
    assert torch.allclose(found, image, atol=1e-5)


def test_pictures_are_preprocessed_as_published(open_clip, small):
    model, path = small
    _, _, transform = open_clip.create_model_and_transforms("small-quickgelu")
    encoder = load("small-quickgelu", path)
    pictures = [picture(1), picture(2, (64, 64)), picture(3, (40, 200)), picture(4).convert("L")]
    for item in pictures:
        assert torch.equal(encoder.prepare(item, "image").rows[0], transform(item))
    with torch.inference_mode():
        pixels = torch.stack([transform(item) for item in pictures])
        wanted = F.normalize(model.encode_image(pixels), dim=-1)
    assert torch.allclose(encoder.encode(pictures, "image"), wanted, atol=1e-5)


def test_texts_without_their_padding_have_the_same_vectors(open_clip, small):
    model, path = small
    encoder = load("small-quickgelu", path)
    with torch.inference_mode():
        wanted = F.normalize(model.encode_text(open_clip.tokenize(TEXTS)), dim=-1)
    assert torch.allclose(encoder.encode(TEXTS, "text"), wanted, atol=1e-5)
    alone = torch.cat([encoder.encode([text], "text") for text in TEXTS])
    assert torch.allclose(alone, wanted, atol=1e-5)
    assert [encoder.prepare(text, "text").length for text in TEXTS[:3]] == [4, 10, 77]


@pytest.mark.parametrize(
    "text",
    [
        "a dog",
        "  A DOG\tthat\n barks ",
        "it's, we'll & they've: 42 dogs!?",
        "caf\u00e9 \u2014 na\u00efve \u65e5\u672c\u8a9e \U0001f415",
        "&lt;b&gt;bold&amp;amp;",
        "schÃ¶n",
        "<start_of_text> twice <end_of_text> over",
        " ".join(["word"] * 75),
        " ".join(["word"] * 76),
        "supercalifragilisticexpialidocious " * 40,
        "!",
    ],
)
def test_tokens_are_those_of_open_clip_without_their_padding(open_clip, text):
    whole = open_clip.SimpleTokenizer()(text)

    prepared = ClipTokens(open_clip.SimpleTokenizer())
    tokens = prepared.unpadded(text).rows

    assert torch.equal(prepared.padded(text).rows, whole)
    assert tokens.dtype == whole.dtype
    assert tokens[0].tolist() == whole[0, : tokens.shape[1]].tolist()
    assert not whole[0, tokens.shape[1] :].any()


@pytest.mark.parametrize("words", [1, 74, 75, 76, 77, 300])
def test_the_tokens_past_the_context_are_counted(open_clip, small, words):
    text = " ".join(["supercalifragilistic", *["word"] * (words - 1)])
    whole = open_clip.SimpleTokenizer(context_length=1000)(text)
    given = int((whole != 0).sum())

    prepared = load("small-quickgelu", small[1]).prepare(text, "text")

    assert prepared.length == min(given, 77)
    assert prepared.given == (given if given > 77 else None)


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("a dog", True),
        ("ein größerer Hund", True),
        ("x", True),
        ("1984", True),
        ("🐕", True),  # CLIP's vocabulary has this emoji
        ("🫠", False),  # and lacks this one
        ("Привет мир", False),
        ("ελληνικά", False),
        ("ελληνικά a", True),
        (
            "ελληνικά " * 20 + "dog",
            False,
        ),  # nothing is read of the dog
        ("日本", True),
        ("こんにちは", False),
        ("?!... ---", False),
    ],
)
def test_a_text_of_which_no_word_is_known_is_told(small, text, understood):
    assert load("small-quickgelu", small[1]).prepare(text, "text").understood is understood


@pytest.fixture(scope="module")
def bert_tokens(open_clip, tmp_path_factory):
    """Tokens of eight at most by a WordPiece tokenizer, as a model of the hub has it."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "bark", "##s", "!"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    BertWordPieceTokenizer(str(folder / "vocab.txt")).save(str(folder / "words.json"))
    BertTokenizerFast(tokenizer_file=str(folder / "words.json")).save_pretrained(folder)
    return OtherTokens(open_clip.tokenizer.HFTokenizer(str(folder), context_length=8))


class TestOtherTokenizers:
    """Tokenizers of single models tell the same as CLIP's own."""

    @pytest.mark.parametrize(("words", "given"), [(1, None), (6, None), (7, 9), (40, 42)])
    def test_tokens_are_counted(self, bert_tokens, words, given):
        prepared = bert_tokens.padded(" ".join(["dog"] * words))
        assert prepared.rows.shape == (1, 8)
        assert prepared.given == given

    @pytest.mark.parametrize(("text", "understood"), [("a dog", True), ("cats", False), ("!", False)])
    def test_known_words_are_told(self, bert_tokens, text, understood):
        assert bert_tokens.padded(text).understood is understood

    def test_a_tokenizer_that_leaves_words_out_counts_them(self, open_clip):
        tokens = OtherTokens(open_clip.SimpleTokenizer(context_length=8, reduction_mask="simple"))
        assert tokens.unpadded("a dog barks").given is None
        assert tokens.unpadded("dog dog dog dog dog dog dog").given == 9


def test_the_fingerprint_is_that_of_the_weights(open_clip, small, tmp_path):
    model, path = small
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "c.safetensors")
    assert (
        load("small-quickgelu", tmp_path / "c.safetensors").fingerprint
        == load("small-quickgelu", path).fingerprint
    )
    other = {**model.state_dict(), "logit_scale": torch.tensor(2.0)}
    torch.save(other, tmp_path / "other.pt")
    assert (
        load("small-quickgelu", tmp_path / "other.pt").fingerprint
        != load("small-quickgelu", path).fingerprint
    )


@pytest.mark.parametrize("towers", [["image"], ["text"]])
def test_one_tower_can_be_asked_for(open_clip, small, towers):
    assert load("small-quickgelu", small[1], towers=towers).modalities == tuple(towers)


def test_a_tower_it_does_not_have_is_an_error(open_clip, small):
    with pytest.raises(ConfigError, match="text, image"):
        load("small-quickgelu", small[1], towers=["audio"])


@pytest.mark.parametrize("text", ["", " \n "])
def test_empty_text_is_refused(open_clip, small, text):
    with pytest.raises(InvalidMedia, match="at least one character"):
        load("small-quickgelu", small[1]).encode([text], "text")


class TestQuickGelu:
    """Weights trained with one activation never run with the other."""

    def test_openai_state_dicts_are_recognised(self, open_clip, small, tmp_path):
        model, path = small
        half = {k: v.half() for k, v in model.state_dict().items()}
        meta = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
        torch.save({**half, **meta}, tmp_path / "openai_layout.bin")
        with pytest.raises(CheckpointError, match="open_clip/small-quickgelu"):
            load("small", tmp_path / "openai_layout.bin")
        encoder = load("small-quickgelu", tmp_path / "openai_layout.bin")
        exact = load("small-quickgelu", path)
        agreement = (encoder.encode(["a dog"], "text") * exact.encode(["a dog"], "text")).sum()
        assert agreement > 0.9999

    def test_the_hub_folder_of_openai_is_recognised(self, open_clip, small, tmp_path):
        folder = tmp_path / "vit_base_patch32_clip_224.openai"
        folder.mkdir()
        save_file(
            {k: v.contiguous() for k, v in small[0].state_dict().items()},
            folder / "open_clip_model.safetensors",
        )
        with pytest.raises(CheckpointError, match="open_clip/small-quickgelu"):
            load("small", folder)
        assert load("small-quickgelu", folder).dim == 32

    @pytest.mark.parametrize(
        ("quick", "right", "wrong"), [(True, "small-quickgelu", "small"), (False, "small", "small-quickgelu")]
    )
    def test_a_published_configuration_decides(self, open_clip, small, tmp_path, quick, right, wrong):
        config = {"model_cfg": {"quick_gelu": quick}, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}
        (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
        torch.save(small[0].state_dict(), tmp_path / "open_clip_pytorch_model.bin")
        with pytest.raises(CheckpointError, match=f"open_clip/{right}[.]"):
            load(wrong, tmp_path)
        grey = Image.new("RGB", (64, 64), (128, 128, 128))
        mean = load(right, tmp_path).prepare(grey, "image").rows.mean(dim=(0, 2, 3))
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
        assert torch.allclose(mean, (128 / 255 - 0.5) / std, atol=1e-5)

    def test_the_openai_tag_is_refused_before_anything_is_fetched(self, open_clip):
        with pytest.raises(CheckpointError, match="open_clip/ViT-B-32-quickgelu"):
            load("ViT-B-32", "openai")


class TestUnusableWeights:
    def test_an_unknown_model_names_those_like_it(self, open_clip):
        with pytest.raises(ConfigError, match="ViT-B-32"):
            load("ViT-B32", None)

    def test_absent_weights_say_what_to_download_and_where_to_put_it(self, open_clip, tmp_path):
        path = tmp_path / "clip.safetensors"
        with pytest.raises(MissingFiles) as error:
            load("ViT-B-32-quickgelu", path)
        assert str(path) in error.value.message
        url = "https://huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/main/open_clip_model"
        assert url in error.value.message

    def test_no_weights_at_all_say_where_they_are_published(self, open_clip):
        with pytest.raises(MissingFiles, match=r"https://huggingface\.co/"):
            load("ViT-B-32-quickgelu", None)

    def test_another_architecture_is_refused(self, open_clip, small):
        with pytest.raises(CheckpointError, match=r"missing .*instead of"):
            load("ViT-S-32", small[1])

    def test_a_changed_file_is_refused(self, open_clip, small):
        with pytest.raises(IntegrityError, match="sha256"):
            load("small-quickgelu", small[1], sha256="0" * 64)
