"""What is exported is imported as it was, and what is no export is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from connectors.errors import ConfigError, IntegrityError, MissingFiles
from service.backup.export import export_collection, import_collection, read_layout
from service.errors import CollectionConflict
from service.index.opening import open_index
from service.index.protocol import Layout, Point

LAYOUT = Layout(8, {"clip": 8, "clap": 4}, "v1")


def points() -> list[Point]:
    rng = np.random.default_rng(0)

    def unit(dim: int) -> np.ndarray:
        vector = rng.standard_normal(dim).astype(np.float32)
        return vector / np.linalg.norm(vector)

    made = []
    for i in range(1100):
        modality, space, dim = ("audio", "clap", 4) if i % 3 else ("image", "clip", 8)
        payload = {"name": f"n{i}", "metadata": {"n": i, "half": i / 2, "é": [True, None]}}
        made.append(Point(f"p{i}", modality, space, unit(8), unit(dim), payload))
    return made


def test_an_export_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "birds.parquet"
    with open_index(LAYOUT) as index:
        index.upsert("birds", points())
        assert export_collection(index, "birds", path) == 1100
        with pytest.raises(ConfigError, match="exists"):
            export_collection(index, "birds", path)
        with pytest.raises(ConfigError, match="bees"):
            export_collection(index, "bees", tmp_path / "bees.parquet")
    assert read_layout(path) == LAYOUT
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == ["id", "modality", "space", "vector", "native", "metadata", "payload"]
    assert not list(tmp_path.glob(".*"))
    with open_index(LAYOUT) as index:
        assert import_collection(index, "copies", path) == 1100
        for stored, point in zip(
            index.get("copies", ["p7", "p9"], True), (points()[7], points()[9]), strict=True
        ):
            assert (stored.id, stored.modality, stored.space) == (point.id, point.modality, point.space)
            assert stored.payload == point.payload
            np.testing.assert_allclose(stored.unified, point.unified, atol=1e-6)
            np.testing.assert_allclose(stored.native, point.native, atol=1e-6)
    with open_index(replace(LAYOUT, connector="v2")) as index, pytest.raises(CollectionConflict, match="v1"):
        import_collection(index, "copies", path)


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFiles):
        read_layout(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(IntegrityError, match=r"text\.parquet"):
        read_layout(tmp_path / "text.parquet")
    other = pyarrow.table({"a": [1]})
    pyarrow.parquet.write_table(other, tmp_path / "other.parquet")
    with pytest.raises(IntegrityError, match=r"other\.parquet"):
        read_layout(tmp_path / "other.parquet")
