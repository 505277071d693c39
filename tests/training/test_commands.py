"""The commands do what they say, print what came of it, and turn mistakes into one line."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner, Result

from connectors import registry
from connectors.connector import Connector, ConnectorManifest
from connectors.projectors import Linear
from training.commands import app
from training.feature_set import open_feature_set


@pytest.fixture(autouse=True)
def tiny_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FAMILIES", {"tiny": "tiny_family"})


def isthmus(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def extract(folder: Path, space: str, model: int) -> Result:
    return isthmus(
        "features", folder / "texts.txt", "--output", folder / "feats" / space,
        "--modality", "text", "--space", space, "--encoder", f"tiny/{model}", "--dtype", "float16",
    )  # fmt: skip


def test_features_of_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a dog\na cat\n" + "x" * 30_000 + "\n")
    result = extract(tmp_path, "one", 0)
    assert result.exit_code == 0, result.output
    made = open_feature_set(tmp_path / "feats" / "one")
    assert (len(made), made.manifest.dtype, made.manifest.encoder.name) == (2, "float16", "tiny/one")
    assert "1 items left out" in result.output


def test_progress_has_a_rate_and_a_mistake_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a dog\na cat\n")
    assert "/s" in extract(tmp_path, "one", 0).output
    missing = isthmus("train", tmp_path / "no.toml", "--output", tmp_path / "out")
    assert len(missing.output.splitlines()) == 1
    assert missing.output.startswith("error no recipe file")


def test_features_needs_one_encoder(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a\n")
    result = isthmus(
        "features", tmp_path / "t.txt", "--output", tmp_path / "f", "--modality", "text", "--space", "x"
    )
    assert result.exit_code == 1
    assert "either --encoder or --bundle" in result.output


def write_connector(path: Path) -> None:
    head = Linear(16, 16)
    manifest = ConnectorManifest(
        method="ridge",
        base="one",
        dim=16,
        heads={"one/text": [], "two/text": ["f"]},
        projectors={"f": head.spec},
        encoders={},
    )
    Connector(manifest, {"f": head}).save(path)


def test_evaluate_prints_chance_beside_figures_and_json_on_request(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("".join(f"text {i}\n" for i in range(20)))
    extract(tmp_path, "one", 0)
    extract(tmp_path, "two", 0)
    write_connector(tmp_path / "c")
    arguments = ("evaluate", "--connector", tmp_path / "c", "--data", tmp_path / "feats")
    shown = isthmus(*arguments)
    assert shown.exit_code == 0, shown.output
    assert "one/text → two/text" in shown.output
    assert "100.0 ±0.0 / 5.0" in shown.output
    machine = isthmus(*arguments, "--json", "--resamples", "0")
    figure = json.loads(machine.stdout)["measurements"][0]["figures"]["R@1"]
    assert figure == {"value": 1.0, "chance": pytest.approx(0.05), "low": None, "high": None}


def test_evaluate_needs_something_to_measure(tmp_path: Path) -> None:
    result = isthmus("evaluate", "--data", tmp_path)
    assert result.exit_code == 1
    assert "name a --bundle, or a --connector" in result.output


def test_connectors_import_converts_and_never_overwrites(tmp_path: Path) -> None:
    def half(side: str) -> dict[str, torch.Tensor]:
        parts = ("weight", "bias", "running_mean", "running_var")
        norm = {f"{side}.net.1.{part}": torch.ones(512) for part in parts}
        return {
            f"{side}.net.0.weight": F.normalize(torch.ones(512, 512)),
            f"{side}.net.0.bias": torch.zeros(512),
            f"{side}.net.1.num_batches_tracked": torch.tensor(1),
            **norm,
        }

    torch.save({**half("Head_A"), **half("Head_B")}, tmp_path / "ulip_clip.pt")
    result = isthmus("connectors", "import", tmp_path / "ulip_clip.pt", "--output", tmp_path / "c")
    assert result.exit_code == 0, result.output
    assert "ulip/point_cloud" in result.output
    again = isthmus("connectors", "import", tmp_path / "ulip_clip.pt", "--output", tmp_path / "c")
    assert again.exit_code == 1
    assert "exists: choose another output" in again.output.replace("\n", " ")


def test_what_stands_in_brackets_in_an_error_is_shown(tmp_path: Path) -> None:
    result = isthmus("train", tmp_path / "[mine].toml", "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "[mine].toml" in result.output.replace("\n", "")
