"""The unified space composes encoders and connectors, and refuses those that do not meet."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.calibration import Calibration
from connectors.connector import Connector, ConnectorManifest
from connectors.encoder import Prepared, TowerEncoder
from connectors.errors import ConfigError, FingerprintMismatch, UnsupportedMedia
from connectors.modality import Media, Modality
from connectors.projectors import Linear, MlpBlock, Projector
from connectors.space import UnifiedSpace

SERVE: dict[Modality, str] = {"text": "clip", "audio": "clap", "point_cloud": "ulip"}


class Lengths(TowerEncoder):
    """Embeds anything by its length: enough to tell media apart."""

    def __init__(self, space: str, *modalities: Modality) -> None:
        super().__init__()
        self.name, self.modalities, self.dim = f"test/{space}", modalities, 6
        self.fingerprint = f"sha256:{space}"
        torch.manual_seed(len(space) + sum(map(ord, space)))
        self.net = nn.Linear(1, 6)

    def prepare(self, media: Media, modality: Modality | None = None) -> Prepared:
        length = len(media) if not hasattr(media, "size") else media.size  # type: ignore[arg-type]
        return Prepared(self.resolve(modality), torch.tensor([[float(length)]]), 1)

    def embed_rows(self, modality: Modality, rows: Tensor) -> Tensor:
        out: Tensor = self.net(rows)
        return out


def connector(base: str | None, heads: dict[str, list[str]], **manifest: Any) -> Connector:
    torch.manual_seed(0)
    projectors: dict[str, Projector] = {"f_l": Linear(6, 6), "f_m": MlpBlock(6, 8, 6)}
    return Connector(
        ConnectorManifest(
            method="test",
            base=base,
            dim=6,
            heads=heads,
            projectors={name: p.spec for name, p in projectors.items()},
            **{"encoders": {}, **manifest},
        ),
        projectors,
    )


EX_CLAP = connector("clip", {"clip/text": [], "clap/text": ["f_m"], "clap/audio": ["f_l", "f_m"]})
EX_ULIP = connector("clip", {"clip/text": [], "ulip/point_cloud": ["f_l", "f_m"]})
C_CLAP = connector(None, {"clip/text": ["f_m"], "clap/audio": ["f_l"]})


def make_space(*connectors: Connector) -> UnifiedSpace:
    return UnifiedSpace(
        name="test",
        encoders={
            "clip": Lengths("clip", "text", "image"),
            "clap": Lengths("clap", "audio"),
            "ulip": Lengths("ulip", "point_cloud"),
        },
        serve=SERVE,
        connectors=connectors,
        calibration=Calibration.none(),
    )


def test_one_connector_a_leaf_serves_every_modality() -> None:
    space = make_space(EX_CLAP, EX_ULIP)
    assert space.modalities == ("text", "audio", "point_cloud")
    native = space.encode("text", ["a", "dog"])
    assert torch.equal(space.project("text", native), native)
    assert space.is_base("text")
    assert not space.is_base("audio")


def test_embedding_is_encoding_then_the_head_of_the_serving_space() -> None:
    space = make_space(EX_CLAP, EX_ULIP)
    media = ["a sound", "another sound"]
    chain = EX_CLAP.projectors["f_m"](EX_CLAP.projectors["f_l"](space.encode("audio", media)))
    torch.testing.assert_close(space.embed("audio", media), F.normalize(chain, dim=-1))


def test_file_bytes_are_decoded_on_the_way() -> None:
    space = make_space(EX_CLAP, EX_ULIP)
    assert torch.equal(space.embed("text", [b"a dog"]), space.embed("text", ["a dog"]))


def test_a_modality_without_a_head_is_not_served() -> None:
    space = make_space(C_CLAP)
    assert space.modalities == ("text", "audio")
    with pytest.raises(UnsupportedMedia, match="it embeds: text, audio"):
        space.embed("point_cloud", ["x"])


def test_nothing_in_is_nothing_out() -> None:
    assert make_space(EX_CLAP).embed("audio", []).shape == (0, 6)


def test_connectors_into_new_spaces_of_their_own_do_not_meet() -> None:
    with pytest.raises(ConfigError, match="common base"):
        make_space(C_CLAP, EX_ULIP)


def test_a_connector_of_other_encoders_is_refused() -> None:
    stranger = connector("clip", {"clap/audio": ["f_m"]}, encoders={"clap": "sha256:other"})
    with pytest.raises(FingerprintMismatch, match="clap"):
        make_space(EX_ULIP, stranger)


def test_the_version_changes_with_any_connector() -> None:
    torch.manual_seed(9)
    retrained = connector("clip", {"clap/audio": ["f_m"]})
    with torch.no_grad():
        next(retrained.projectors.parameters()).add_(1)
    sets = ([EX_CLAP], [EX_ULIP], [EX_CLAP, EX_ULIP], [retrained, EX_ULIP])
    assert len({make_space(*chosen).connector_version for chosen in sets}) == len(sets)
