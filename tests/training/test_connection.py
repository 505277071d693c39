from functools import cache

import pytest
import torch

from connectors.connector import load_connector
from connectors.errors import ConfigError
from training.connection import connect
from training.parallel import Group
from training.pseudo_pair_store import PseudoPairStore
from training.recipe import load_recipe
from training.simulate import World, simulate

NAMES = {
    "base_overlap": "clip/text",
    "leaf_overlap": "clap/text",
    "base_other": "clip/image",
    "leaf_other": "clap/audio",
}
WORLD = World(dim=24, overlap_items=400, base_items=200, leaf_items=200, test_items=50)
SIMULATION = simulate(WORLD)


def features(simulation=SIMULATION):
    return {name: getattr(simulation.memories, role) for role, name in NAMES.items()}


def recipe(name="exmcr-paper", **sections):
    small = {"projector": {"hidden": 32}, "optim": {"epochs": 1, "batch_size": 128}}
    for section, values in sections.items():
        small[section] = {**small.get(section, {}), **values}
    return load_recipe(name, small)


def test_exmcr_heads_take_the_leaf_into_an_untouched_base(tmp_path):
    connector = connect(recipe(), features()).connector
    again = load_connector(connector.save(tmp_path / "connector"))

    assert again.manifest.base == "clip"
    assert again.is_identity("clip", "text")
    assert again.is_identity("clip", "image")
    assert again.manifest.heads["clap/audio"] == ["f_l", "f_m"]
    assert again.manifest.heads["clap/text"] == ["f_m"]
    audio = SIMULATION.test["leaf_other"]
    unified = again.project("clap", "audio", audio)
    assert unified.shape == (50, 24)
    torch.testing.assert_close(unified, connector.project("clap", "audio", audio))


def test_cmcr_moves_both_spaces():
    connector = connect(recipe("cmcr-paper"), features()).connector

    assert connector.manifest.base is None
    assert connector.manifest.heads["clip/text"] == connector.manifest.heads["clip/image"]
    assert connector.manifest.heads["clap/audio"] != connector.manifest.heads["clip/image"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, again = (connect(recipe(), features()).connector for _ in range(2))
    other = connect(recipe(optim={"seed": 1}), features()).connector

    assert first.version == again.version
    assert first.version != other.version


def test_spaces_of_different_dimension_are_connected():
    wide = features()
    for name in ("clap/text", "clap/audio"):
        wide[name] = torch.cat([wide[name], wide[name].roll(1, 1)], dim=1)

    connection = connect(recipe(), wide)

    for connector in (connection.connector, *connection.baselines.values()):
        assert connector.project("clap", "audio", wide["clap/audio"][:5]).shape == (5, 24)


@pytest.mark.parametrize("method", ["ridge", "procrustes"])
def test_closed_forms_are_methods_too(method):
    connection = connect(load_recipe("default", {"method": method}), features())

    assert connection.connector.manifest.method == method
    assert connection.histories == []


def test_an_ensemble_is_saved_and_loaded_whole(tmp_path):
    mixed = recipe(
        connection={
            "centring": "all",
            "ensemble": [["overlap"], ["leaf", "base"]],
            "ridge_share": 0.2,
        }
    )
    connection = connect(mixed, features())
    again = load_connector(connection.connector.save(tmp_path / "connector"))

    assert len(connection.histories) == 2
    audio = SIMULATION.test["leaf_other"]
    torch.testing.assert_close(
        again.project("clap", "audio", audio), connection.connector.project("clap", "audio", audio)
    )


def test_real_pairs_are_mixed_in_where_there_are_some():
    options = {"loss": {"real_weight": 0.5}, "real_pairs": {"clip/image": "a", "clap/audio": "b"}}
    given = {name: features()[name] for name in ("clip/image", "clap/audio")}
    mixed = load_recipe("default", {**options, "optim": {"epochs": 1, "batch_size": 128}})

    assert "real" in connect(mixed, features(), real_pairs=given).histories[0][0]
    with pytest.raises(ConfigError, match="must name clap/audio and clip/image"):
        connect(mixed, features(), real_pairs={"clip/text": given["clip/image"]})
    with pytest.raises(ConfigError, match="need the same items"):
        connect(mixed, features(), real_pairs={**given, "clap/audio": given["clap/audio"][:9]})


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path):
    whole = connect(recipe(optim={"epochs": 2, "checkpoint_steps": 1}), features()).connector

    def die(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    half = recipe(optim={"epochs": 2, "checkpoint_steps": 1})
    with pytest.raises(KeyboardInterrupt):
        connect(half, features(), checkpoints=tmp_path, on_step=die)
    resumed = connect(half, features(), checkpoints=tmp_path).connector

    audio = SIMULATION.test["leaf_other"]
    torch.testing.assert_close(resumed.project("clap", "audio", audio), whole.project("clap", "audio", audio))


def test_any_two_spaces_with_a_modality_in_common_are_connected_by_config_alone():
    """Wav2CLIP to ImageBind by their sounds, say: neither the names nor the modalities mean anything."""
    names = {
        "base_overlap": "bind/audio",
        "leaf_overlap": "wav/audio",
        "base_other": "bind/point_cloud",
        "leaf_other": "wav/image",
    }
    given = {name: getattr(SIMULATION.memories, role) for role, name in names.items()}
    chosen = {"base": "bind", "leaf": "wav", "overlap": "audio"}
    connector = connect(load_recipe("exmcr-paper", {**chosen, "optim": {"epochs": 1}}), given).connector

    assert connector.manifest.heads["wav/image"] == ["f_l", "f_m"]
    assert connector.is_identity("bind", "point_cloud")


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        *(("exmcr-paper", {"pseudo_pairs": {"queries": [query]}}) for query in ("overlap", "leaf", "base")),
        ("exmcr-paper", {"pseudo_pairs": {"weighting": "hard"}}),
        ("exmcr-paper", {"pseudo_pairs": {"temperature": 0.1}}),
        ("exmcr-paper", {"loss": {"contrasts": [["leaf", "base"]]}}),
        *(("exmcr-paper", {"projector": {"leaf_layers": depth}}) for depth in (1, 2)),
        *(("exmcr-paper", {"projector": {"layers": depth}}) for depth in (0, 1, 3, 4, 5)),
        *(
            ("exmcr-paper", {"loss": {key: value}})
            for key, value in {
                "overlap_temperature": 0.1,
                "intra_weight": 0.0,
                "intra_squared": True,
                "noise_variance": 0.0,
                "neighbourhood_weight": 1.0,
            }.items()
        ),
        ("cmcr-paper", {"projector": {"cmcr_shape": "one_layer"}}),
        ("cmcr-paper", {"loss": {"other_temperature": 0.1}}),
    ],
)
def test_every_axis_of_the_papers_is_a_value_of_the_recipe(name, sections):
    changed = connect(recipe(name, **sections), features()).connector
    plain = plain_connector(name)

    assert changed.version != plain.version
    audio = SIMULATION.test["leaf_other"]
    unified = changed.project("clap", "audio", audio)
    assert unified.isfinite().all()
    assert not torch.allclose(unified, plain.project("clap", "audio", audio), atol=1e-4)


@cache
def plain_connector(name):
    return connect(recipe(name), features()).connector


def test_a_batch_that_no_process_can_contrast_is_refused_before_pseudo_pairs_are_made(tmp_path):
    class Four(Group):
        def __init__(self):
            super().__init__()
            self.size = 4

    store = PseudoPairStore(tmp_path / "pools")
    with pytest.raises(ConfigError, match="raise optim"):
        connect(recipe(optim={"batch_size": 7}), features(), store=store, group=Four())
    assert not (tmp_path / "pools").exists()


def broken(**replaced):
    return {**features(), **{key.replace("_", "/"): value for key, value in replaced.items()}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (broken(clip_text=torch.full((400, 24), torch.nan)), "clip/text: 400 of 400 .* NaN"),
        (broken(clap_audio=torch.zeros(5, 24)), "clap/audio: 5 of 5 .* zero"),
        (broken(clap_audio=torch.ones(1, 24)), "clap/audio has shape .* two items"),
        (broken(clap_text=torch.ones(7, 24)), "clip/text has 400 items and clap/text 7"),
        (broken(clip_image=torch.ones(7, 9)), "base space differ in dimension"),
    ],
)
def test_embeddings_that_cannot_be_connected_fail_before_any_work(given, message):
    with pytest.raises(ConfigError, match=message):
        connect(recipe(), given)
