import pytest

from connectors.errors import ConfigError, MissingFiles
from training.recipe import Recipe, load_recipe, shipped_recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_whole(name):
    assert isinstance(load_recipe(name), Recipe)


def test_the_papers_values_are_those_of_the_method():
    paper = load_recipe("exmcr-paper")

    assert paper.pseudo_pairs.queries == ("overlap", "leaf", "base")
    assert (paper.pseudo_pairs.weighting, paper.pseudo_pairs.temperature) == ("soft", 0.01)
    assert len(paper.loss.contrasts) == 4
    assert (paper.loss.overlap_temperature, paper.loss.intra_weight) == (0.05, 0.1)
    assert (paper.optim.epochs, paper.optim.batch_size, paper.optim.lr) == (36, 4096, 1e-3)
    assert (paper.loss.noise_variance, paper.loss.intra_squared) == (0.004, False)
    assert (paper.projector.leaf_layers, paper.projector.layers, paper.projector.hidden) == (0, 2, 1024)
    assert paper.connection.centring == "none"
    assert load_recipe("exmcr-paper-ulip").loss.noise_variance == 0.002
    older = load_recipe("cmcr-paper")
    assert (older.pseudo_pairs.queries, older.projector.cmcr_shape) == (("overlap",), "two_layer")
    assert (older.optim.epochs, older.optim.batch_size, older.optim.lr) == (36, 10_240, 1e-3)
    assert (older.loss.overlap_temperature, older.loss.other_temperature) == (0.05, 0.05)
    ulip = load_recipe("cmcr-paper-ulip")
    assert (ulip.overlap, ulip.projector.cmcr_shape) == ("image", "one_layer")
    assert (ulip.optim.epochs, ulip.optim.batch_size, ulip.optim.lr) == (24, 8192, 5e-3)
    assert ulip.loss.noise_variance == 0.002


RECIPE = """
method = "exmcr"
base = "clip"
leaf = "clap"
overlap = "text"
[features]
"clip/text" = "feats/clip-text"
"clap/text" = "feats/clap-text"
"clip/image" = "feats/clip-image"
"clap/audio" = "/elsewhere/clap-audio"
[optim]
epochs = 3
lr = 1e-2
"""


def test_a_recipe_file_holds_what_differs_from_the_one_it_extends(tmp_path):
    (tmp_path / "mine.toml").write_text('extends = "exmcr-paper"\n' + RECIPE)
    mine, paper = load_recipe(tmp_path / "mine.toml"), load_recipe("exmcr-paper")

    assert (mine.optim.epochs, mine.optim.lr) == (3, 1e-2)
    assert mine.optim.batch_size == paper.optim.batch_size
    assert mine.loss == paper.loss


def test_without_extends_the_method_decides_what_is_below(tmp_path):
    (tmp_path / "ex.toml").write_text(RECIPE)
    (tmp_path / "c.toml").write_text(RECIPE.replace("exmcr", "cmcr"))

    assert load_recipe(tmp_path / "ex.toml").connection == load_recipe("default").connection
    assert load_recipe(tmp_path / "c.toml").pseudo_pairs == load_recipe("cmcr-paper").pseudo_pairs


def test_paths_are_relative_to_the_recipe(tmp_path):
    (tmp_path / "r.toml").write_text(RECIPE)
    features = load_recipe(tmp_path / "r.toml").features

    assert features["clip/text"] == tmp_path / "feats/clip-text"
    assert str(features["clap/audio"]) == "/elsewhere/clap-audio"


def test_yaml_says_the_same(tmp_path):
    (tmp_path / "r.yaml").write_text("method: exmcr\noptim:\n  epochs: 5\n")

    assert load_recipe(tmp_path / "r.yaml").optim.epochs == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optim]\nlearning_rate = 1", "unknown key optim.learning_rate"),
        ("[optim]\nepoch = 1", "did you mean 'epochs'"),
        ('[pseudo_pairs]\nqueries = ["video"]', r"pseudo_pairs.queries.0: .*'overlap'"),
        ("[loss]\noverlap_temperature = 0", "loss.overlap_temperature: .*greater than 0"),
        ('base = "clip"\nleaf = "clip"', "name two spaces"),
        ('overlap = "smell"', "overlap: .*'text'"),
        ('extends = "mine"', "there are: cmcr-paper"),
        ("[loss]\nreal_weight = 1", "real_weight needs"),
        ('method = "cmcr"\n[connection]\nridge_share = 0.5', "only Ex-MCR"),
        ("method = ", "cannot be parsed"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(tmp_path, text, message):
    (tmp_path / "r.toml").write_text(text)

    with pytest.raises(ConfigError, match=message):
        load_recipe(tmp_path / "r.toml")


def test_a_recipe_that_is_not_there_is_said_so_with_the_names_there_are():
    with pytest.raises(MissingFiles, match="exmcr-paper"):
        load_recipe("no-such")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["clip/text", "clip/image", "clap/audio"], "needs clap/text"),
        (["clip/text", "clap/text", "clap/audio"], "one other modality of clip"),
        (["clip/text", "clap/text", "clip/image", "clip/audio", "clap/audio"], "clip/image, clip/a"),
        (["clip/text", "clap/text", "clip/image", "clap/audio", "ulip/image"], "names ulip/image"),
    ],
)
def test_feature_sets_that_do_not_make_a_connection_are_refused(names, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("default").roles(names)
