"""CLAP is laion_clap's, exactly, up to 10 s; beyond, one sound always has one vector."""

import json
import shutil
from itertools import pairwise
from types import SimpleNamespace

import librosa
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from connectors.encoders.laion_clap import MAX_WINDOWS, WINDOW, filled, load, quantised, window_starts
from connectors.encoders.log_mel import LogMel
from connectors.errors import CheckpointError, ConfigError, InvalidMedia, MissingFiles
from connectors.registry import load_encoder

RATE = 48_000


def sound(seconds: float, pitch: float = 440.0) -> np.ndarray:
    n = round(seconds * RATE)
    noise = np.random.default_rng(n).normal(0, 0.2, n)
    return (np.sin(2 * np.pi * pitch * np.arange(n) / RATE) * 0.7 + noise).astype(np.float32)


def save(parts: dict[str, nn.Module], path) -> None:
    """Save towers in the layout of LAION's checkpoints."""
    tensors = {f"module.{n}.{k}": v for n, m in parts.items() for k, v in m.state_dict().items()}
    tensors["module.logit_scale_a"] = torch.tensor(2.6)
    torch.save({"state_dict": tensors, "epoch": 7, "name": "x", "best": np.float64(0.5)}, path)


@pytest.fixture(scope="module")
def checkpoints(upstream_clap, tmp_path_factory):
    """By (model, fusion): laion_clap's own tower and projection, and their checkpoint."""
    folder, made = tmp_path_factory.mktemp("clap"), {}

    def get(model: str, fusion: bool):
        if (model, fusion) not in made:
            tower, projection = upstream_clap(model, fusion)
            path = folder / f"{model}-{fusion}.pt"
            save({"audio_branch": tower, "audio_projection": projection}, path)
            made[model, fusion] = tower, projection, path
        return made[model, fusion]

    yield get
    shutil.rmtree(folder)  # 800 MB, which pytest would keep to the end


def upstream_input(clips: list[np.ndarray], fusion: bool, feature_functions) -> dict[str, torch.Tensor]:
    """What laion_clap's `get_audio_features` makes of clips of up to 10 s."""
    waveforms = np.stack([feature_functions(clip) for clip in clips])
    if not fusion:
        return {"waveform": torch.from_numpy(waveforms)}
    # laion_clap has torchaudio make these, and documents the call of librosa that equals it.
    mels = [
        librosa.power_to_db(
            librosa.feature.melspectrogram(
                y=w,
                sr=RATE,
                n_fft=1024,
                hop_length=480,
                n_mels=64,
                norm=None,
                htk=True,
                fmin=50,
                fmax=14_000,
                pad_mode="reflect",
            ),
            top_db=None,
        ).T
        for w in waveforms
    ]
    stacked = torch.from_numpy(np.stack([[mel] * 4 for mel in mels]).astype(np.float32))
    return {"mel_fusion": stacked, "longer": torch.zeros(len(clips), 1, dtype=torch.bool)}


def upstream_waveform(clip: np.ndarray) -> np.ndarray:
    """The int16 round trip, repeating and padding of laion_clap 1.1.7 (training/data.py)."""
    steps = torch.from_numpy(clip).clamp(-1.0, 1.0).mul(32767.0).to(torch.int16)
    wave = steps.div(32767.0).float().repeat(480_000 // len(steps))
    return F.pad(wave, (0, 480_000 - len(wave))).numpy()


@pytest.mark.parametrize("fusion", [False, True], ids=["plain", "fusion"])
@pytest.mark.parametrize("model", ["HTSAT-tiny", "HTSAT-base"])
def test_clips_up_to_ten_seconds_have_the_vectors_of_laion_clap(checkpoints, model, fusion):
    tower, projection, path = checkpoints(model, fusion)
    clips = [sound(3.0), sound(10.0, 90.0), sound(0.5, 4000.0) * 3]
    with torch.inference_mode():
        features = upstream_input(clips, fusion, upstream_waveform)
        wanted = F.normalize(projection(tower(features, device="cpu")["embedding"]), dim=-1)
    found = load_encoder(f"laion_clap/{model}", path).encode(clips)
    assert ((found * wanted).sum(dim=1) >= 0.9999).all()
    assert torch.allclose(found, wanted, atol=1e-4)
    assert (wanted - wanted.roll(1, 0)).abs().amax(dim=1).min() > 1e-3, "the towers tell these clips apart"


def test_fusion_of_whole_and_parts_is_laion_claps(checkpoints):
    tower, projection, path = checkpoints("HTSAT-tiny", True)
    encoder = load("HTSAT-tiny", path)
    prepared = [encoder.prepare(sound(25.0)), encoder.prepare(sound(2.0))]
    features = {
        "mel_fusion": torch.cat([item.rows for item in prepared]),
        "longer": torch.tensor([True, False]),
    }
    with torch.inference_mode():
        wanted = F.normalize(projection(tower(features, device="cpu")["embedding"]), dim=-1)
    assert torch.allclose(encoder.encode_prepared(prepared), wanted, atol=1e-4)


class TestLongSounds:
    def test_a_long_sound_is_the_normalised_mean_of_its_fixed_windows(self, checkpoints):
        encoder = load("HTSAT-tiny", checkpoints("HTSAT-tiny", False)[2])
        long = sound(25.0)
        starts = [0, 360_000, 720_000]
        assert window_starts(len(long)) == starts
        windows = encoder.encode([long[s : s + WINDOW] for s in starts])
        found = encoder.encode([long])[0]
        assert torch.allclose(found, F.normalize(windows.mean(dim=0), dim=0), atol=1e-6)
        assert torch.equal(found, encoder.encode([long])[0])

    @pytest.mark.parametrize("samples", [1, WINDOW, WINDOW + 1, 2 * WINDOW, 13 * WINDOW, 400 * WINDOW])
    def test_windows_cover_a_sound_evenly_up_to_their_number(self, samples):
        starts = window_starts(samples)
        assert starts[0] == 0
        assert starts[-1] == max(0, samples - WINDOW)
        assert len(starts) == min(-(-samples // WINDOW), MAX_WINDOWS)
        if samples <= MAX_WINDOWS * WINDOW:
            assert all(b - a <= WINDOW for a, b in pairwise(starts))

    def test_a_fusion_model_hears_the_middles_of_the_thirds(self, checkpoints):
        encoder = load("HTSAT-tiny", checkpoints("HTSAT-tiny", True)[2])
        long = quantised(sound(19.0))
        whole, *parts = encoder.prepare(long).rows[0]
        mel = LogMel("htk")(torch.from_numpy(long)[None])[0]
        assert whole.shape == (1001, 64)
        for part, begin in zip(parts, (150, 451, 751), strict=True):
            assert torch.equal(part, mel[begin : begin + 1001])

    def test_a_sound_a_sample_longer_than_the_window_is_not_fused(self, checkpoints):
        encoder = load("HTSAT-tiny", checkpoints("HTSAT-tiny", True)[2])
        assert not encoder.prepare(sound(10.0 + 1 / RATE)).rows[0, 1:].any()


def test_short_clips_are_repeated_whole_then_padded():
    clip = sound(4.0)
    found = filled(clip)
    assert np.array_equal(found[: 2 * len(clip)], np.tile(clip, 2))
    assert not found[2 * len(clip) :].any()


@pytest.mark.parametrize(
    "bad",
    [np.zeros(0, np.float32), np.full(9, np.nan, np.float32), np.zeros((2, 9), np.float32), "a dog"],
    ids=["empty", "nan", "stereo", "text"],
)
def test_unusable_sounds_are_refused(checkpoints, bad):
    with pytest.raises(InvalidMedia):
        load("HTSAT-tiny", checkpoints("HTSAT-tiny", False)[2]).prepare(bad, "audio")


ROBERTA_BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": 50265,
}
SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 300,
}


@pytest.fixture(scope="module", params=[SMALL, pytest.param(ROBERTA_BASE, marks=pytest.mark.slow)])
def roberta(request, tmp_path_factory):
    """A RoBERTa's folder, as the hub has it, and the tower with random weights: small, or of true size."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel

    folder = tmp_path_factory.mktemp("roberta-base")
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(["a dog barks at the rain"] * 3, 300, special_tokens=special)
    tokenizer.save_model(str(folder))
    config = RobertaConfig(
        **request.param,
        layer_norm_eps=1e-5,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    config.save_pretrained(folder)
    torch.manual_seed(0)
    return folder, RobertaModel(config).eval()


@pytest.fixture(scope="module")
def with_text(roberta, upstream_clap, randomised, tmp_path_factory):
    """A checkpoint with both towers, and its text projection."""
    tower, audio_projection = upstream_clap("HTSAT-tiny", False)
    width = roberta[1].config.hidden_size
    text_projection = randomised(nn.Sequential(nn.Linear(width, 512), nn.ReLU(), nn.Linear(512, 512)))
    path = tmp_path_factory.mktemp("clap") / "both.pt"
    save(
        {
            "audio_branch": tower,
            "audio_projection": audio_projection,
            "text_branch": roberta[1],
            "text_projection": text_projection,
        },
        path,
    )
    return path, text_projection


class TestText:
    """The text tower is there when a local RoBERTa folder is."""

    def test_texts_have_the_vectors_of_laion_clap(self, roberta, with_text, clap_module):
        from transformers import RobertaTokenizerFast

        (folder, branch), (path, projection) = roberta, with_text
        texts = ["a dog barks", "rain", "the dog barks at the rain " * 40]
        tokens = RobertaTokenizerFast.from_pretrained(folder)(
            texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        )
        # The whole model cannot be built: it would fetch RoBERTa from the hub.
        parts = {"text_branch": branch, "text_projection": projection}
        clap = SimpleNamespace(text_branch_type="roberta", **parts)
        with torch.inference_mode():
            encode = clap_module.model.CLAP.encode_text
            wanted = F.normalize(encode(clap, tokens, torch.device("cpu")), dim=-1)
        encoder = load_encoder("laion_clap/HTSAT-tiny", path, towers=["audio", "text"], roberta=folder)
        assert encoder.modalities == ("text", "audio")
        assert torch.allclose(encoder.encode(texts, "text"), wanted, atol=1e-4)

    @pytest.mark.parametrize("words", [1, 37, 38, 200])
    def test_the_tokens_past_the_context_are_counted(self, roberta, with_text, words):
        from tokenizers import ByteLevelBPETokenizer

        text = " ".join(["rain dog"] * words)
        files = [str(roberta[0] / name) for name in ("vocab.json", "merges.txt")]
        given = len(ByteLevelBPETokenizer(*files).encode(text).ids) + 2  # its start and its end
        prepared = load("HTSAT-tiny", with_text[0], roberta=roberta[0]).prepare(text, "text")
        assert prepared.length == prepared.rows.shape[1] == min(given, 77)
        assert prepared.given == (given if given > 77 else None)

    @pytest.mark.parametrize(
        ("text", "understood"),
        [
            ("a dog", True),
            ("x", True),
            ("\u65e5\u672c", False),
            ("\U0001f415 \U0001f415", False),
            ("?!", False),
        ],
    )
    def test_a_text_of_which_no_word_is_known_is_told(self, roberta, with_text, text, understood):
        encoder = load("HTSAT-tiny", with_text[0], roberta=roberta[0])
        assert encoder.prepare(text, "text").understood is understood

    def test_sound_alone_is_loaded_unless_text_is_asked_for(self, roberta, with_text):
        alone = load("HTSAT-tiny", with_text[0])
        both = load("HTSAT-tiny", with_text[0], roberta=roberta[0])
        assert alone.modalities == ("audio",)
        assert alone.fingerprint == both.fingerprint

    def test_absent_files_are_listed_with_their_place(self, with_text, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({}))
        with pytest.raises(MissingFiles) as error:
            load("HTSAT-tiny", with_text[0], towers=["text"], roberta=tmp_path)
        assert "2 files are missing" in error.value.message
        assert str(tmp_path / "vocab.json") in error.value.message
        assert "https://huggingface.co/FacebookAI/roberta-base" in error.value.message


class TestUnusableWeights:
    def test_absent_weights_say_what_to_download_and_where_to_put_it(self, tmp_path):
        with pytest.raises(MissingFiles) as error:
            load("HTSAT-tiny", tmp_path / "clap.pt")
        assert str(tmp_path / "clap.pt") in error.value.message
        assert "https://huggingface.co/lukewys/laion_clap/resolve/main/630k" in error.value.message

    def test_another_size_is_refused(self, checkpoints):
        with pytest.raises(CheckpointError, match=r"does not fit laion_clap/HTSAT-base.*instead of"):
            load("HTSAT-base", checkpoints("HTSAT-tiny", False)[2])

    def test_other_checkpoints_are_refused(self, tmp_path):
        torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "c.pt")
        with pytest.raises(CheckpointError, match="audio_branch"):
            load("HTSAT-tiny", tmp_path / "c.pt")

    def test_unknown_models_are_named(self):
        with pytest.raises(ConfigError, match="HTSAT-tiny"):
            load("PANN-14", None)
