"""ViT-B/32 with random weights in two layouts: a bundle for Isthmus, and Hugging Face's for infinity.

Given a directory, writes both from one seed. Neither needs the hub.
"""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from connectors.connector import Connector, ConnectorManifest
from connectors.torchvision_operators import declare_missing_operators

MODEL = "ViT-B-32-quickgelu"
DIM = 512
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
START, END = "<|startoftext|>", "<|endoftext|>"


def write(directory: Path) -> tuple[Path, Path]:
    """The bundle and the Hugging Face folder, below a directory."""
    declare_missing_operators()
    import open_clip

    torch.manual_seed(0)
    network = open_clip.CLIP(**open_clip.get_model_config(MODEL)).eval()
    weights = {key: value.detach() for key, value in network.state_dict().items()}
    return _bundle(directory / "bundle", network), _hugging_face(directory / "hugging-face", weights)


def _bundle(directory: Path, network: nn.Module) -> Path:
    """A bundle of CLIP alone; what it gives is the unified vector as it is."""
    directory.mkdir(parents=True)
    torch.save(network.state_dict(), directory / "clip.pt")
    manifest = ConnectorManifest(
        method="identity",
        base="clip",
        dim=DIM,
        heads={"clip/text": [], "clip/image": []},
        projectors={},
        encoders={},
    )
    Connector(manifest, {}).save(directory / "identity")
    (directory / "bundle.toml").write_text(
        'format = "isthmus.bundle/1"\nname = "vit-b-32"\ndefault = "identity"\ndtype = "auto"\n'
        '[serve]\ntext = "clip"\nimage = "clip"\n'
        f'[encoders.clip]\nname = "open_clip/{MODEL}"\nweights = "clip.pt"\n'
        '[connectors]\nidentity = ["identity"]\n'
    )
    return directory


def _hugging_face(directory: Path, weights: Mapping[str, Tensor]) -> Path:
    """What `CLIPModel.from_pretrained` and `AutoProcessor.from_pretrained` read."""
    directory.mkdir(parents=True)
    named = {key: value.contiguous() for key, value in _renamed(weights).items()}
    save_file(named, directory / "model.safetensors", metadata={"format": "pt"})
    files: dict[str, object] = {
        "config.json": {
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": DIM,
            "text_config": {"hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 2048},
            "vision_config": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
        },
        "preprocessor_config.json": {
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "CLIPProcessor",
            "do_resize": True,
            "size": {"shortest_edge": 224},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": 224, "width": 224},
            "do_convert_rgb": True,
            "do_normalize": True,
            "image_mean": MEAN,
            "image_std": STD,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "CLIPTokenizer",
            "processor_class": "CLIPProcessor",
            "model_max_length": 77,
            "bos_token": START,
            "eos_token": END,
            "pad_token": END,
            "unk_token": END,
        },
    }
    files |= _vocabulary(directory)
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
    return directory


def _vocabulary(directory: Path) -> dict[str, object]:
    """open_clip's byte pairs as `merges.txt`, written here, and `vocab.json`."""
    import open_clip.tokenizer

    tokenizer = open_clip.SimpleTokenizer()
    with gzip.open(open_clip.tokenizer.default_bpe(), "rt", encoding="utf-8") as file:
        merges = file.read().split("\n")[1 : 49152 - 256 - 2 + 1]
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    names = {"<start_of_text>": START, "<end_of_text>": END}
    return {"vocab.json": {names.get(token, token): number for token, number in tokenizer.encoder.items()}}


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's tensors under the names of Hugging Face's CLIP."""
    found: dict[str, Tensor] = {"logit_scale": weights["logit_scale"]}
    for theirs, ours in (("text_model", ""), ("vision_model", "visual.")):
        prefix = f"{ours}transformer.resblocks."
        for key, value in weights.items():
            if not key.startswith(prefix):
                continue
            layer, _, rest = key.removeprefix(prefix).partition(".")
            at = f"{theirs}.encoder.layers.{layer}."
            if rest.startswith("attn.in_proj_"):
                for name, part in zip("qkv", value.chunk(3), strict=True):
                    found[f"{at}self_attn.{name}_proj.{rest.removeprefix('attn.in_proj_')}"] = part
                continue
            for old, new in (
                ("attn.out_proj", "self_attn.out_proj"),
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ):
                rest = rest.replace(old, new)
            found[at + rest] = value
    embeddings = "vision_model.embeddings."
    found |= {
        "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
        "text_projection.weight": weights["text_projection"].T,
        f"{embeddings}class_embedding": weights["visual.class_embedding"],
        f"{embeddings}patch_embedding.weight": weights["visual.conv1.weight"],
        f"{embeddings}position_embedding.weight": weights["visual.positional_embedding"],
        "visual_projection.weight": weights["visual.proj"].T,
    }
    for kind in ("weight", "bias"):
        found[f"text_model.final_layer_norm.{kind}"] = weights[f"ln_final.{kind}"]
        found[f"vision_model.pre_layrnorm.{kind}"] = weights[f"visual.ln_pre.{kind}"]
        found[f"vision_model.post_layernorm.{kind}"] = weights[f"visual.ln_post.{kind}"]
    return found
