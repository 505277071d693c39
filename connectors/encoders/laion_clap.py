"""LAION CLAP: sounds to vectors, and texts where a local RoBERTa folder is given.

Given a checkpoint of laion_clap, fusion or not (its keys tell), gives back an encoder with the
published preprocessing made deterministic. laion_clap itself crops long sounds at random, so that
one file is as little as 0.3 similar to itself (LAION-AI/CLAP issue 166); here the crops are fixed,
and sounds that fit its 10 s window have the vectors laion_clap gives them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.checkpoint import fingerprint, fit, part, read_tensors
from connectors.encoder import Prepared, TowerEncoder, choose_towers
from connectors.encoders.htsat import CONFIGS, Htsat
from connectors.encoders.known_words import known_words
from connectors.encoders.log_mel import BANDS, HOP, LogMel
from connectors.errors import CheckpointError, ConfigError, InvalidMedia, MissingFiles
from connectors.modality import Media, Modality, Waveform
from connectors.weights import Absent, Download, locate, missing_files

WINDOW = 480_000
"""Samples the network hears at once: 10 s."""

MAX_WINDOWS = 12
"""Windows of a long sound that are heard: all of it up to two minutes, then evenly spread ones."""

DIM = 512

_FRAMES = WINDOW // HOP + 1
_REPOSITORY = "https://huggingface.co/lukewys/laion_clap/resolve/main"
_FILES = {
    "HTSAT-tiny": "630k-audioset-best.pt",
    "HTSAT-base": "music_speech_audioset_epoch_15_esc_89.98.pt",
}
_NOT_USED = ("spectrogram_extractor.", "logmel_extractor.", "tscam_conv.", "head.")
"""Parts of `audio_branch` that decide no vector: fixed filters, and the class head."""

_TEXT_CONTEXT = 77


def quantised(waveform: Waveform) -> Waveform:
    """The int16 round trip CLAP was trained with: clipped to -1..1, cut to steps of 1/32767."""
    steps: Waveform = (np.clip(waveform, -1.0, 1.0) * 32767.0).astype(np.int16) / np.float32(32767.0)
    return steps


def filled(waveform: Waveform) -> Waveform:
    """A clip of up to 10 s as exactly 10 s: repeated whole while it fits, then zeros."""
    repeated = np.tile(waveform, WINDOW // len(waveform))
    return np.pad(repeated, (0, WINDOW - len(repeated)))


def window_starts(samples: int) -> list[int]:
    """Where the windows of a sound begin: as few as cover it, evenly spread from start to end."""
    if samples <= WINDOW:
        return [0]
    count = min(-(-samples // WINDOW), MAX_WINDOWS)
    return [round(i * (samples - WINDOW) / (count - 1)) for i in range(count)]


class LaionClapEncoder(TowerEncoder):
    """The audio tower, and the text tower where it was asked for."""

    reducible = True

    def __init__(
        self,
        name: str,
        network: Htsat,
        projection: nn.Module,
        fingerprint: str,
        text: "_TextTower | None" = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.dim = DIM
        self.network = network
        self.projection = projection
        self.text = text
        self.modalities = ("text", "audio") if text else ("audio",)
        self.fingerprint = fingerprint
        self._log_mel = LogMel("htk" if network.fusion else "slaney")

    def quantisable(self) -> Iterable[nn.Module]:
        """See `TowerEncoder.quantisable`: none, int8 leaves a cosine of 0.990."""
        return ()

    def packable(self) -> Iterable[nn.Module]:
        """See `TowerEncoder.packable`."""
        return (self,)

    def prepare(self, media: Media, modality: Modality | None = None) -> Prepared:
        """Decibels float32 [windows, 1, 1001, 64]; of a fusion model [1, 4, 1001, 64].

        A sound beyond 10 s is heard through fixed windows, and its vector is the normalised mean of
        theirs; a fusion model hears it once: the whole, shrunk, and three fixed parts.
        """
        if self.resolve(modality) == "text":
            assert self.text is not None
            return self.text.prepare(media)
        if not isinstance(media, np.ndarray) or media.ndim != 1:
            raise InvalidMedia(f"{self.name} takes mono waveforms of one dimension")
        if not len(media) or not np.isfinite(media).all():
            raise InvalidMedia("a sound is empty or holds values that are not finite")
        waveform = quantised(media)
        if self.network.fusion:
            return Prepared("audio", self._whole_and_parts(waveform)[None], _FRAMES)
        if len(waveform) <= WINDOW:
            windows = filled(waveform)[None]
        else:
            windows = np.stack([waveform[i : i + WINDOW] for i in window_starts(len(waveform))])
        return Prepared("audio", self._log_mel(torch.from_numpy(windows))[:, None], _FRAMES)

    def _whole_and_parts(self, waveform: Waveform) -> Tensor:
        """The four channels of a fusion input: [4, 1001, 64]; the parts are zeros up to 10 s.

        laion_clap draws each part at random from one third of the sound; here it is the middle of
        that third. The whole is shrunk without antialiasing, as when the checkpoints were trained.
        """
        short = len(waveform) <= WINDOW
        mel = self._log_mel(torch.from_numpy(filled(waveform) if short else waveform)[None])[0]
        spare = len(mel) - _FRAMES
        if spare == 0:
            return torch.cat([mel[None], torch.zeros(3, _FRAMES, BANDS)])
        thirds = np.array_split(np.arange(spare + 1), 3)
        begins = [int(third[len(third) // 2]) if len(third) else 0 for third in thirds]
        shrunk = F.interpolate(mel[None, None], (_FRAMES, BANDS), mode="bilinear")[0]
        return torch.cat([shrunk, *(mel[None, begin : begin + _FRAMES] for begin in begins)])

    def collate(self, modality: Modality, rows: Sequence[Tensor]) -> Tensor:
        """Join the rows; texts are padded to the longest."""
        if modality == "audio" or self.text is None:
            return torch.cat(list(rows))
        return self.text.collate(rows)

    def embed_rows(self, modality: Modality, rows: Tensor) -> Tensor:
        """See `TowerEncoder.embed_rows`."""
        tower = self.text if modality == "text" else None
        out: Tensor = tower(rows) if tower is not None else self.projection(self.network(rows))
        return out


class _TextTower(nn.Module):
    """RoBERTa and CLAP's text projection, with the tokenizer of a local folder."""

    def __init__(self, folder: Path, tensors: Mapping[str, Tensor], path: Path) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoTokenizer, RobertaModel

        # CLAP pools with RoBERTa's own pooler: its weights are in the checkpoint.
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._words = known_words(self._tokenizer.get_vocab(), self._tokenizer.all_special_ids)
        self.branch = RobertaModel(config)
        branch = part(tensors, "text_branch.")
        branch.pop("embeddings.position_ids", None)
        fit(self.branch, branch, path=path, what=f"the RoBERTa of {folder}")
        self.projection = _projection(config.hidden_size)
        fit(self.projection, part(tensors, "text_projection."), path=path, what="CLAP's text projection")

    def prepare(self, media: Media) -> Prepared:
        """Token ids int64 [1, length], at most 77."""
        if not isinstance(media, str) or not media.strip():
            raise InvalidMedia("laion_clap takes texts with at least one character in them")
        # Cut here, as the tokenizer would, so that the number of all tokens is known.
        ids = self._tokenizer(media, truncation=False, verbose=False)["input_ids"]
        given = len(ids)
        if given > _TEXT_CONTEXT:
            ids[_TEXT_CONTEXT - 1 : -1] = []
        lost = given if given > _TEXT_CONTEXT else None
        return Prepared("text", torch.tensor([ids]), len(ids), lost, self._words.any_in(ids))

    def collate(self, rows: Sequence[Tensor]) -> Tensor:
        """Token ids int64 [n, longest], padded at the end."""
        sequences = [row[0] for row in rows]
        pad = float(self._tokenizer.pad_token_id)
        return nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=pad)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids [n, length] -> [n, 512]; padding is masked, so that it changes nothing."""
        seen = (tokens != self._tokenizer.pad_token_id).long()
        out: Tensor = self.projection(self.branch(tokens, attention_mask=seen).pooler_output)
        return out


def _projection(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, DIM), nn.ReLU(), nn.Linear(DIM, DIM))


def published_weights(model: str) -> Download:
    """Where LAION's checkpoint for `model` is published."""
    return Download(f"the CLAP checkpoint {_FILES[model]}", f"{_REPOSITORY}/{_FILES[model]}")


def load(
    model: str,
    weights: str | Path | None,
    *,
    towers: Sequence[Modality] | None = None,
    roberta: str | Path | None = None,
    sha256: str | None = None,
) -> LaionClapEncoder:
    """Load `HTSAT-tiny` or `HTSAT-base` from a laion_clap checkpoint, on the CPU in float32.

    `towers` adds "text", which needs `roberta`: a folder with roberta-base's config.json and
    tokenizer files (its weights are in the checkpoint). By default audio alone is loaded, and text
    too where `roberta` is given.

    Raises `ConfigError` for an unknown model, `MissingFiles` if a file is not there, and
    `CheckpointError` or `IntegrityError` if the weights are not this model's.
    """
    if model not in CONFIGS:
        raise ConfigError(f"there is no laion_clap/{model}; there are {', '.join(CONFIGS)}")
    name = f"laion_clap/{model}"
    default: tuple[Modality, ...] = ("text", "audio") if roberta else ("audio",)
    asked = choose_towers(name, towers or default, ("text", "audio"))
    download = published_weights(model)
    if weights is None:
        raise MissingFiles(
            f"{name} was given no weights: pass the path of {download.what}, from {download.url}"
        )
    path = locate(weights, download)
    tensors = read_tensors(path, sha256)
    audio = part(tensors, "audio_branch.")
    if not audio:
        raise CheckpointError(f"{path} has no audio_branch.*: it is not a checkpoint of laion_clap")

    network = Htsat(CONFIGS[model], fusion="patch_embed.mel_conv2d.weight" in audio)
    used = {key: value for key, value in audio.items() if not key.startswith(_NOT_USED)}
    fit(network, used, path=path, what=name)
    projection = _projection(CONFIGS[model].out)
    fit(projection, part(tensors, "audio_projection."), path=path, what=f"{name}'s projection")
    core = {**network.state_dict(), **{f"p.{k}": v for k, v in projection.state_dict().items()}}
    encoder = LaionClapEncoder(
        name=name,
        network=network,
        projection=projection,
        fingerprint=fingerprint(core, name, f"windows={MAX_WINDOWS}"),
        text=_TextTower(_roberta_folder(roberta), tensors, path) if "text" in asked else None,
    )
    encoder.eval()
    return encoder


def _roberta_folder(folder: str | Path | None) -> Path:
    """The folder, if what a text tower needs is in it."""
    path = Path(folder if folder is not None else "roberta-base").expanduser()
    absent = [file for file in ("config.json",) if not (path / file).is_file()]
    if not (path / "tokenizer.json").is_file():
        absent += [file for file in ("vocab.json", "merges.txt") if not (path / file).is_file()]
    if folder is None or absent:
        source = "https://huggingface.co/FacebookAI/roberta-base/resolve/main"
        raise missing_files(
            [
                Absent(
                    f"{path / file}, and pass roberta={path}",
                    Download(f"{file} of roberta-base, for CLAP's text tower", f"{source}/{file}"),
                )
                for file in absent or ["config.json", "tokenizer.json"]
            ]
        )
    return path
