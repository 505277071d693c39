"""CLIP through open_clip: any of its models, both towers, the published preprocessing.

Given a model name and weights in open_clip's layout, gives back an encoder of text and images.
OpenAI's weights were trained with QuickGELU and give wrong vectors, without any error, in a model
of the same shape with GELU: here that is a `CheckpointError` that names the right model.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from connectors.checkpoint import fingerprint, fit, read_tensors
from connectors.encoder import Prepared, TowerEncoder, choose_towers
from connectors.encoders.clip_block import ClipBlock, make_fast
from connectors.encoders.clip_tokens import ClipTokens, OtherTokens, TextTokens
from connectors.errors import CheckpointError, ConfigError, InvalidMedia, MissingFiles
from connectors.modality import Media, Modality
from connectors.torchvision_operators import declare_missing_operators
from connectors.weights import HUB_PREFIX, Download, locate

_OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")
"""Entries of OpenAI's own state dicts that no weights are."""

_OPENAI_NAME = re.compile(r"(^|[._-])openai([._-]|$)", re.IGNORECASE)
"""What the hub calls OpenAI's weights: vit_base_patch32_clip_224.openai."""

_LENGTH_STEP = 8
"""Token batches are padded to a multiple of this, so that few distinct shapes are ever run."""


class OpenClipEncoder(TowerEncoder):
    """The two towers of one open_clip model."""

    reducible = True
    network: Any
    """An open_clip model: CLIP, CustomTextCLIP or CoCa, which share no typed base."""

    def __init__(
        self,
        name: str,
        modalities: tuple[Modality, ...],
        network: Any,
        dim: int,
        transform: Callable[[Image], Tensor],
        tokens: TextTokens,
        fingerprint: str,
    ) -> None:
        super().__init__()
        self.name = name
        self.modalities = modalities
        make_fast(network)
        self.network = network
        self.dim = dim
        self.fingerprint = fingerprint
        self._transform = transform
        # What follows the end-of-text token cannot reach it through a causal mask, so that
        # running without the padding changes nothing but the time.
        self._causal = (
            getattr(network, "text_pool_type", None) == "argmax"
            and getattr(network, "attn_mask", None) is not None
        )
        self._prepare_text = tokens.unpadded if self._causal else tokens.padded

    def quantisable(self) -> Iterable[nn.Module]:
        """See `TowerEncoder.quantisable`: the picture tower; texts in int8 were at 0.9989."""
        return (self.network.visual,)

    def packable(self) -> Iterable[nn.Module]:
        """See `TowerEncoder.packable`: the blocks; what else there is depends on the model."""
        return (part for part in self.network.modules() if isinstance(part, ClipBlock))

    def prepare(self, media: Media, modality: Modality | None = None) -> Prepared:
        """Tokens int64 [1, length], or pixels float32 [1, 3, side, side]."""
        tower = self.resolve(modality)
        if tower == "image":
            if not isinstance(media, Image):
                raise InvalidMedia(f"{self.name} takes PIL images, not {type(media).__name__}")
            return Prepared("image", self._transform(media)[None], 1)
        if not isinstance(media, str) or not media.strip():
            raise InvalidMedia(f"{self.name} takes texts with at least one character in them")
        return self._prepare_text(media)

    def collate(self, modality: Modality, rows: Sequence[Tensor]) -> Tensor:
        """Join the rows; texts are padded with zeros to the longest, rounded up a little."""
        if modality == "image" or not self._causal:
            return torch.cat(list(rows))
        longest = max(row.shape[1] for row in rows)
        context = int(self.network.attn_mask.shape[0])
        tokens = np.zeros((len(rows), min(-(-longest // _LENGTH_STEP) * _LENGTH_STEP, context)), np.int64)
        for i, row in enumerate(rows):
            tokens[i, : row.shape[1]] = row.numpy()[0]
        return torch.from_numpy(tokens)

    def embed_rows(self, modality: Modality, rows: Tensor) -> Tensor:
        """See `TowerEncoder.embed_rows`."""
        if modality == "image":
            pixels = rows.to(self.network.logit_scale.dtype)
            vectors: Tensor = self.network.encode_image(pixels)
        elif self._causal:
            vectors = self._embed_tokens(rows)
        else:
            vectors = self.network.encode_text(rows)
        return vectors

    def _embed_tokens(self, tokens: Tensor) -> Tensor:
        """`open_clip.CLIP.encode_text` for tokens [n, length] shorter than the context."""
        clip = self.network
        length = tokens.shape[1]
        x = clip.token_embedding(tokens) + clip.positional_embedding[:length]
        x = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length].to(x.dtype))
        x = clip.ln_final(x[torch.arange(len(x), device=x.device), tokens.argmax(dim=1)])
        projection = clip.text_projection
        if projection is not None:
            x = projection(x) if isinstance(projection, nn.Linear) else x @ projection
        vectors: Tensor = x
        return vectors


def load(
    model: str,
    weights: str | Path | None,
    *,
    towers: Sequence[Modality] | None = None,
    sha256: str | None = None,
) -> OpenClipEncoder:
    """Load `model` (a name open_clip lists) from `weights`, on the CPU in float32.

    `weights` is a file, a directory in the layout of open_clip's hub repositories, a hub reference
    `hf-hub:OWNER/REPO/FILE`, or a tag open_clip lists for the model (downloaded or cached).
    `towers` names the modalities wanted, by default both.

    Raises `ConfigError` for an unknown model, `MissingFiles` if the weights are not there, and
    `CheckpointError` or `IntegrityError` if they are not this model's.
    """
    declare_missing_operators()
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    config = open_clip.get_model_config(model)
    if config is None:
        near = difflib.get_close_matches(model, open_clip.list_models(), n=4, cutoff=0.3)
        raise ConfigError(f"open_clip has no model {model!r}; did you mean {', '.join(near)}?")
    quick = bool(config.get("quick_gelu", False))
    tag = open_clip.get_pretrained_cfg(model, str(weights))
    if tag:
        published = {"quick_gelu": False, **tag}
        _refuse_other_activation(model, quick, bool(published["quick_gelu"]))
        path = _fetch_tag(tag, model, str(weights))
    else:
        path = _locate(weights, model)
        published = _published_preprocessing(path)
    _refuse_other_activation(model, quick, _trained_with_quick_gelu(path, published, {}))
    tensors = read_tensors(path, sha256)
    _refuse_other_activation(model, quick, _trained_with_quick_gelu(path, published, tensors))

    network = _build(config)
    fit(network, _adapted(tensors, network), path=path, what=f"open_clip's {model}")
    network.eval()
    settings = merge_preprocess_dict(PreprocessCfg(size=network.visual.image_size), published)
    settings["size"] = network.visual.image_size
    return OpenClipEncoder(
        name=f"open_clip/{model}",
        modalities=choose_towers(f"open_clip/{model}", towers, ("text", "image")),
        network=network,
        dim=int(config["embed_dim"]),
        transform=image_transform_v2(PreprocessCfg(**settings), is_train=False),
        tokens=_text_tokens(model, config),
        fingerprint=fingerprint(
            network.state_dict(), f"open_clip/{model}", json.dumps(settings, sort_keys=True)
        ),
    )


def _build(config: Mapping[str, Any]) -> Any:
    """The architecture of one of open_clip's model configurations, randomly initialised."""
    import open_clip

    fields = dict(config)
    hugging_face = "hf_model_name" in fields["text_cfg"]
    custom = fields.pop("custom_text", False) or hugging_face
    if "timm_model_name" in fields["vision_cfg"]:
        fields["vision_cfg"] = {**fields["vision_cfg"], "timm_model_pretrained": False}
    if hugging_face:
        fields["text_cfg"] = {**fields["text_cfg"], "hf_model_pretrained": False}
    if not custom:
        return open_clip.CLIP(**fields)
    if "multimodal_cfg" in fields:
        return open_clip.CoCa(**fields)
    return open_clip.CustomTextCLIP(**fields)


def _adapted(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Checkpoints of older open_clip versions and of OpenAI, as this version names them."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    adapted: dict[str, Tensor] = {k: v for k, v in tensors.items() if k not in _OPENAI_KEYS}
    adapted = convert_state_dict(network, adapted)
    if not hasattr(network, "positional_embedding"):
        adapted = convert_to_custom_text_state_dict(adapted)
    adapted.pop("text.transformer.embeddings.position_ids", None)
    wanted = network.state_dict()
    for key in ("logit_scale", "logit_bias"):
        if key in adapted and key in wanted:
            adapted[key] = adapted[key].reshape(wanted[key].shape)
    return adapted


def _text_tokens(model: str, config: Mapping[str, Any]) -> TextTokens:
    import open_clip

    text = config["text_cfg"]
    if text.get("hf_tokenizer_name") or "siglip" in model.lower():
        try:
            return OtherTokens(open_clip.get_tokenizer(model))
        except (OSError, ValueError) as error:
            raise MissingFiles(
                f"the tokenizer of {model} is not in the hub's cache and cannot be fetched: "
                f"download {text.get('hf_tokenizer_name', model)} from https://huggingface.co"
            ) from error
    simple = open_clip.SimpleTokenizer(
        context_length=text.get("context_length", 77), **text.get("tokenizer_kwargs", {})
    )
    return OtherTokens(simple) if simple.reduction_fn else ClipTokens(simple)


def published_weights(model: str) -> Download:
    """Where the weights of `model` are published: OpenAI's or LAION's, else any that are listed."""
    declare_missing_operators()
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    preferred = [t for t in ("openai", "laion2b_s34b_b79k", *tags) if t in tags]
    url = "the weights you trained it to"
    if preferred:
        repo, _, file = open_clip.get_pretrained_cfg(model, preferred[0])["hf_hub"].rpartition("/")
        file = file or "open_clip_model.safetensors"
        url = f"https://huggingface.co/{repo}/resolve/main/{file}"
    return Download(f"open_clip's weights of {model}", url)


def _locate(weights: str | Path | None, model: str) -> Path:
    if weights is None:
        raise MissingFiles(
            f"open_clip/{model} was given no weights. Pass the path of a file, such as one from "
            f"{published_weights(model).url}"
        )
    path = locate(weights, published_weights(model))
    if path.is_dir():
        names = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
        found = [path / name for name in names if (path / name).is_file()]
        path = found[0] if found else locate(path / names[0], published_weights(model))
    return path


def _fetch_tag(tag: Mapping[str, Any], model: str, name: str) -> Path:
    if not tag["hf_hub"]:
        raise MissingFiles(
            f"open_clip's weights {name} of {model} are not on the hub: download {tag['url']} and "
            "pass its path"
        )
    repo, _, file = str(tag["hf_hub"]).rpartition("/")
    reference = f"{HUB_PREFIX}{repo}/{file or 'open_clip_model.safetensors'}"
    return locate(reference, Download(f"open_clip's weights {name} of {model}", ""))


def _published_preprocessing(path: Path) -> dict[str, Any]:
    """What an `open_clip_config.json` beside the weights says of pixels and activation."""
    file = path.with_name("open_clip_config.json")
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text())
        fields = dict(config.get("preprocess_cfg", {}))
        fields["quick_gelu"] = bool(config["model_cfg"].get("quick_gelu", False))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{file} is not an open_clip configuration: {error}") from error
    return fields


def _trained_with_quick_gelu(
    path: Path, published: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> bool | None:
    """Whether weights were trained with QuickGELU; None where nothing tells."""
    if "quick_gelu" in published:
        return bool(published["quick_gelu"])
    openai = any(key in tensors for key in _OPENAI_KEYS)
    if openai or any(_OPENAI_NAME.search(name) for name in path.absolute().parts):
        return True
    return None


def _refuse_other_activation(model: str, quick: bool, trained: bool | None) -> None:
    if trained is None or trained == quick:
        return
    right = f"{model}-quickgelu" if trained else model.replace("-quickgelu", "")
    has, had = ("QuickGELU", "GELU") if quick else ("GELU", "QuickGELU")
    raise CheckpointError(
        f"these weights were trained with {had} and {model} computes {has}: the vectors would be "
        f"wrong without any other sign. Load them as open_clip/{right}."
    )
