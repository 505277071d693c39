"""The authors' files, in their own layout with random weights, give the maps their own code would."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from connectors.connector import load_connector
from connectors.errors import CheckpointError, ConfigError
from connectors.modality import Modality
from training.importer import import_authors_checkpoint

State = dict[str, Tensor]
RNG = torch.Generator().manual_seed(0)


def linear(name: str, dim_in: int, dim_out: int) -> State:
    return {
        f"{name}.weight": torch.randn(dim_out, dim_in, generator=RNG) / dim_in**0.5,
        f"{name}.bias": torch.randn(dim_out, generator=RNG) / 10,
    }


def batch_norm(name: str, dim: int) -> State:
    return {
        f"{name}.weight": torch.rand(dim, generator=RNG) + 0.5,
        f"{name}.bias": torch.randn(dim, generator=RNG) / 10,
        f"{name}.running_mean": torch.randn(dim, generator=RNG) / 10,
        f"{name}.running_var": torch.rand(dim, generator=RNG) + 0.5,
        f"{name}.num_batches_tracked": torch.tensor(7),
    }


def mlp(name: str) -> State:
    return {
        **linear(f"{name}.net1.0", 512, 1024),
        **batch_norm(f"{name}.net1.1", 1024),
        **linear(f"{name}.net2.0", 1024, 512),
        **batch_norm(f"{name}.net2.1", 512),
    }


def half(name: str) -> State:
    return {**linear(f"{name}.net.0", 512, 512), **batch_norm(f"{name}.net.1", 512)}


def affine(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: State, name: str, x: Tensor) -> Tensor:
    centred = (x - state[f"{name}.running_mean"]) / (state[f"{name}.running_var"] + 1e-5).sqrt()
    return centred * state[f"{name}.weight"] + state[f"{name}.bias"]


def run_mlp(state: State, name: str, x: Tensor) -> Tensor:
    x = norm(state, f"{name}.net1.1", affine(state, f"{name}.net1.0", x)).relu()
    return norm(state, f"{name}.net2.1", affine(state, f"{name}.net2.0", x))


def run_half(state: State, name: str, x: Tensor) -> Tensor:
    return norm(state, f"{name}.net.1", affine(state, f"{name}.net.0", x)).relu()


def run_f_m(state: State, x: Tensor) -> Tensor:
    return run_mlp(state, "Head2.mlp2", run_mlp(state, "Head2.mlp1", x))


def ex_state() -> State:
    return {**linear("Head1", 512, 512), **mlp("Head2.mlp1"), **mlp("Head2.mlp2")}


Case = tuple[str, State, str, Modality, Callable[[State, Tensor], Tensor]]
EX, CLAP_CLIP, ULIP_CLIP = (
    ex_state(),
    {**mlp("Head_A"), **mlp("Head_B")},
    {**half("Head_A"), **half("Head_B")},
)
CASES: list[Case] = [
    ("ex_clap", EX, "clap", "audio", lambda s, x: run_f_m(s, affine(s, "Head1", x))),
    ("ex_clap", EX, "clap", "text", run_f_m),
    ("ex_ulip", EX, "ulip", "point_cloud", lambda s, x: run_f_m(s, affine(s, "Head1", x))),
    ("ex_ulip", EX, "ulip", "image", run_f_m),
    ("clap_clip", CLAP_CLIP, "clap", "audio", lambda s, x: run_mlp(s, "Head_A", x)),
    ("clap_clip", CLAP_CLIP, "clip", "image", lambda s, x: run_mlp(s, "Head_B", x)),
    ("ulip_clip", ULIP_CLIP, "clip", "text", lambda s, x: run_half(s, "Head_A", x)),
    ("ulip_clip", ULIP_CLIP, "ulip", "point_cloud", lambda s, x: run_half(s, "Head_B", x)),
]


@pytest.mark.parametrize(("kind", "state", "space", "modality", "direct"), CASES)
def test_each_head_equals_a_direct_evaluation_of_its_state_dict(
    tmp_path: Path,
    kind: str,
    state: State,
    space: str,
    modality: Modality,
    direct: Callable[[State, Tensor], Tensor],
) -> None:
    torch.save(state, tmp_path / f"{kind}.pt")
    import_authors_checkpoint(tmp_path / f"{kind}.pt").save(tmp_path / "connector")
    connector = load_connector(tmp_path / "connector")
    x = F.normalize(torch.randn(64, 512, generator=RNG), dim=1)
    expected = F.normalize(direct(state, x), dim=1)
    torch.testing.assert_close(connector.project(space, modality, x), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["ex_clap", "ex_ulip"])
def test_ex_mcr_leaves_clip_as_it_is(tmp_path: Path, kind: str) -> None:
    torch.save(EX, tmp_path / f"{kind}.pt")
    connector = import_authors_checkpoint(tmp_path / f"{kind}.pt")
    assert connector.manifest.base == "clip"
    assert connector.is_identity("clip", "text")
    assert connector.is_identity("clip", "image")


def test_a_renamed_ex_mcr_file_needs_to_be_told_apart(tmp_path: Path) -> None:
    torch.save(EX, tmp_path / "final.pt")
    with pytest.raises(ConfigError, match="--kind ex_clap"):
        import_authors_checkpoint(tmp_path / "final.pt")
    assert import_authors_checkpoint(tmp_path / "final.pt", "ex_ulip").has_head("ulip", "point_cloud")
    with pytest.raises(ConfigError, match="unknown kind"):
        import_authors_checkpoint(tmp_path / "final.pt", "ex_bind")


def test_another_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"visual.proj": torch.zeros(2, 2)}, tmp_path / "x.pt")
    with pytest.raises(ConfigError, match=r"not one of the authors' files .* visual\.proj"):
        import_authors_checkpoint(tmp_path / "x.pt")


def test_missing_and_surplus_weights_are_named(tmp_path: Path) -> None:
    broken = {k: v for k, v in ULIP_CLIP.items() if k != "Head_B.net.1.bias"}
    torch.save({**broken, "Head_C.weight": torch.zeros(1)}, tmp_path / "ulip_clip.pt")
    with pytest.raises(CheckpointError, match=r"missing \(ulip\.net\.1\.bias\).*Head_C\.weight"):
        import_authors_checkpoint(tmp_path / "ulip_clip.pt")


def test_a_pickle_with_code_in_it_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "sprung"),)  # type: ignore[return-value]

    (tmp_path / "ex_clap.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(CheckpointError):
        import_authors_checkpoint(tmp_path / "ex_clap.pt")
    assert not (tmp_path / "sprung").exists()
