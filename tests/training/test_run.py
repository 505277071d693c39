import json

import pytest
import torch
from typer.testing import CliRunner

from connectors.connector import load_connector
from connectors.errors import ConfigError, FingerprintMismatch
from training.commands import LOSES, app
from training.feature_set import EncoderReference, write_feature_set
from training.recipe import load_recipe
from training.recipe_text import recipe_text
from training.run import run
from training.simulate import World, simulate

WORLD = World(dim=32, overlap_items=1500, base_items=600, leaf_items=600, test_items=100, gap=0.5)
ROLES = {
    "base_overlap": ("clip", "text"),
    "leaf_overlap": ("clap", "text"),
    "base_other": ("clip", "image"),
    "leaf_other": ("clap", "audio"),
}

RECIPE = """
method = "exmcr"
base = "clip"
leaf = "clap"
overlap = "text"
[features]
"clip/text" = "train/clip-text"
"clap/text" = "train/clap-text"
"clip/image" = "train/clip-image"
"clap/audio" = "train/clap-audio"
[evaluation]
"clip/image" = "test/clip-image"
"clap/audio" = "test/clap-audio"
[projector]
hidden = 32
[optim]
epochs = 2
batch_size = 256
"""


def write(directory, role, vectors, items=None, weights="1"):
    space, modality = ROLES[role]
    rows = range(len(vectors))
    return write_feature_set(
        directory / f"{space}-{modality}",
        space=space,
        modality=modality,
        encoder=EncoderReference(name=f"tiny/{space}", fingerprint=f"sha256:{space}{weights}"),
        vectors=vectors,
        items=items or [{"id": f"{modality}-{row}", "text": f"item {row}"} for row in rows],
    )


@pytest.fixture(scope="module")
def simulated():
    return simulate(WORLD)


@pytest.fixture
def recipe_file(tmp_path, simulated):
    for role in ROLES:
        write(tmp_path / "train", role, getattr(simulated.memories, role))
        things = [
            {"id": str(row), "text": "", "label": str(int(label))}
            for row, label in enumerate(simulated.labels)
        ]
        write(tmp_path / "test", role, simulated.test[role], things)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_a_recipe_becomes_a_connector_directory_that_loads(recipe_file, tmp_path):
    output = tmp_path / "out" / "connector"
    made = run(load_recipe(recipe_file), output)
    again = load_connector(output)

    assert again.version == made.connection.connector.version
    assert again.manifest.encoders == {"clip": "sha256:clip1", "clap": "sha256:clap1"}
    assert set(again.manifest.feature_sets) == {"clip/text", "clap/text", "clip/image", "clap/audio"}
    assert again.manifest.metrics["scores"].keys() == {"connector", "ridge", "procrustes"}
    record = json.loads((output / "run.json").read_text())
    assert len(record["losses"][0]) == 2 * (2700 // 256)
    assert not output.with_name("connector.checkpoints").exists()


def test_what_was_trained_beats_its_closed_forms(recipe_file, tmp_path):
    recipe_file.write_text(RECIPE.replace("epochs = 2", "epochs = 10"))
    made = run(load_recipe(recipe_file), tmp_path / "connector")

    assert made.scores["connector"] > made.scores["ridge"] > 0.1
    assert not made.loses


def test_base_and_leaf_overlap_can_be_blended(recipe_file, tmp_path):
    recipe_file.write_text(
        RECIPE.replace("[evaluation]", '[evaluation]\n"clip/text" = "test/clip-text"').replace(
            '"clap/audio" = "test/clap-audio"',
            '"clap/audio" = "test/clap-audio"\n"clap/text" = "test/clap-text"\n[connection]\nblend = 0.3',
        )
    )
    made = run(load_recipe(recipe_file), tmp_path / "connector")
    found = {
        line.what: line.figures["mAP"].value
        for line in made.measurements["connector"]
        if line.task == "retrieval by item"
    }

    assert found["clip+clap/text → clap/audio"] > found["clip/text → clap/audio"]


def bad_recipe(recipe_file):
    """The plain published recipe after four steps is far worse than ridge."""
    text = recipe_file.read_text().replace("epochs = 2", "epochs = 1").replace("= 256", "= 1024")
    recipe_file.write_text('extends = "exmcr-paper"\n' + text)
    return recipe_file


def test_losing_to_a_closed_form_fails_the_command_unless_allowed(recipe_file, tmp_path):
    recipe = str(bad_recipe(recipe_file))
    lost = CliRunner().invoke(app, ["train", recipe, "--output", str(tmp_path / "a")])
    allowed = CliRunner().invoke(app, ["train", recipe, "--output", str(tmp_path / "b"), "--allow-worse"])

    assert lost.exit_code == LOSES
    assert "worse than" in lost.output
    assert "clap/audio → clip/image" in lost.output
    assert load_connector(tmp_path / "a").manifest.method == "exmcr"
    assert allowed.exit_code == 0


def test_without_evaluation_sets_nothing_is_judged(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file).model_copy(update={"evaluation": {}})
    made = run(recipe, tmp_path / "connector")

    assert not made.scores
    assert not made.loses


def test_an_output_that_exists_is_not_overwritten(recipe_file, tmp_path):
    (tmp_path / "connector").mkdir()

    with pytest.raises(ConfigError, match="exists: choose another"):
        run(load_recipe(recipe_file), tmp_path / "connector")


def test_what_the_report_needs_is_missed_before_any_work(recipe_file, tmp_path, monkeypatch):
    monkeypatch.setattr("training.run.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"pip install 'isthmus\[train\]'"):
        run(load_recipe(recipe_file), tmp_path / "connector")


def other_items(root, vectors):
    items = [{"id": f"other-{row}", "text": "?"} for row in range(len(vectors["leaf_overlap"]))]
    write(root / "train", "leaf_overlap", vectors["leaf_overlap"], items)


def other_weights(root, vectors):
    write(root / "train", "leaf_other", vectors["leaf_other"], weights="2")


def not_a_number(root, vectors):
    write(root / "train", "base_other", torch.full_like(vectors["base_other"], torch.nan))


def one_item(root, vectors):
    write(root / "train", "leaf_other", vectors["leaf_other"][:1])


def exchanged(root, vectors):
    (root / "train" / "clip-image").rename(root / "spare")
    (root / "train" / "clap-audio").rename(root / "train" / "clip-image")
    (root / "spare").rename(root / "train" / "clap-audio")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (other_items, ConfigError, "features of different items: extract both from the same input"),
        (other_weights, FingerprintMismatch, "one space has one encoder"),
        (not_a_number, ConfigError, "clip/image: 600 of 600 .* NaN"),
        (one_item, ConfigError, "clap/audio has shape .* two items or more"),
        (exchanged, ConfigError, 'calls .* "clip/image", but it holds clap/audio'),
    ],
)
def test_feature_sets_that_cannot_be_used_fail_before_any_work(
    recipe_file, tmp_path, simulated, spoil, error, message
):
    spoil(tmp_path, {role: getattr(simulated.memories, role) for role in ROLES})

    with pytest.raises(error, match=message):
        run(load_recipe(recipe_file), tmp_path / "connector")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.toml", "test", "train"]


def strangers(root, vectors):
    items = [{"id": f"x{row}", "text": ""} for row in range(5)]
    write(root / "test", "leaf_other", vectors["leaf_other"][:5], items)


def judged_not_a_number(root, vectors):
    write(root / "test", "leaf_other", torch.full_like(vectors["leaf_other"], torch.inf))


def judged_narrower(root, vectors):
    write(root / "test", "leaf_other", vectors["leaf_other"][:, :9])


def judged_without_a_head(root, vectors):
    ROLES["other"] = ("ulip", "image")
    write(root / "test", "other", vectors["base_other"])
    del ROLES["other"]
    path = root / "recipe.toml"
    path.write_text(
        path.read_text().replace("[evaluation]", '[evaluation]\n"ulip/image" = "test/ulip-image"')
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (strangers, "compares nothing of clap with anything of clip: .* ids or labels in common"),
        (judged_not_a_number, r"\[evaluation\] clap/audio: 600 of 600 .* NaN or infinity"),
        (judged_narrower, "clap/audio vectors of 9 dimensions, .* those of 32"),
        (judged_without_a_head, "names ulip/image, but this recipe makes heads for clip/text, "),
    ],
)
def test_evaluation_sets_that_cannot_judge_fail_before_any_work(
    recipe_file, tmp_path, simulated, spoil, message
):
    spoil(tmp_path, {role: getattr(simulated.memories, role) for role in ROLES})
    phases = []

    with pytest.raises(ConfigError, match=message):
        run(load_recipe(recipe_file), tmp_path / "connector", on_phase=phases.append)
    assert phases == ["reading features"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.toml", "test", "train"]


@pytest.mark.parametrize("name", ["default", "cmcr-paper-ulip"])
def test_a_printed_recipe_reads_back_as_the_same(name, tmp_path, recipe_file):
    for source in (name, recipe_file):
        recipe = load_recipe(source)
        (tmp_path / "printed.toml").write_text(recipe_text(recipe))
        assert load_recipe(tmp_path / "printed.toml") == recipe
