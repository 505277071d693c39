"""Export and import of collections as Parquet files: nobody is locked in.

One row per point: `id`, `modality`, `space` (strings), `vector` and `native` (lists of float32,
L2-normalised), `metadata` (the user's JSON as text) and `payload` (the rest of it, as JSON text). The
file's own metadata names the connector that made the vectors. Needs the extra `parquet`. Media files are not
in it: a backup has those.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from connectors.errors import ConfigError, IntegrityError, MissingFiles
from service.index.protocol import Layout, Point
from service.index.vector_index import VectorIndex

FORMAT = "isthmus.points/1"
ROWS = 1024
"""Points in a row group, and in one write of an import."""


def export_collection(index: VectorIndex, collection: str, path: Path) -> int:
    """Write a collection to a new Parquet file; return the number of points.

    Points written meanwhile may be in it or not; those in it are whole. Raises `ConfigError` where there
    is no such collection or the file exists.
    """
    arrow, parquet = _pyarrow()
    if (found := index.backend.current().get(collection)) is None:
        raise ConfigError(f"there is no collection {collection!r}")
    if path.exists():
        raise ConfigError(f"{path} exists; name a new file")
    layout = found.layout
    described = {
        "format": FORMAT,
        "dim": layout.dim,
        "natives": dict(layout.natives),
        "connector": layout.connector,
    }
    schema = arrow.schema(
        [
            ("id", arrow.string()),
            ("modality", arrow.string()),
            ("space", arrow.string()),
            ("vector", arrow.list_(arrow.float32())),
            ("native", arrow.list_(arrow.float32())),
            ("metadata", arrow.string()),
            ("payload", arrow.string()),
        ],
        metadata={"isthmus": json.dumps(described)},
    )
    count, cursor = 0, None
    staging = path.with_name(f".{path.name}.new")
    try:
        with parquet.ParquetWriter(staging, schema, compression="zstd") as writer:
            while True:
                points, cursor = index.scroll(collection, ROWS, cursor, with_vectors=True)
                rows = [_row(point) for point in points]
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
                count += len(points)
                if cursor is None:
                    break
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    return count


def read_layout(path: Path) -> Layout:
    """Return the layout of an exported file's vectors.

    Raises `MissingFiles`, or `IntegrityError` where the file is not an export.
    """
    _, parquet = _pyarrow()
    if not path.is_file():
        raise MissingFiles(f"there is no file {path}")
    try:
        described = json.loads(parquet.read_schema(path).metadata[b"isthmus"])
        if described["format"] != FORMAT:
            raise ValueError(f"its format is {described['format']}")
        return Layout(described["dim"], described["natives"], described["connector"])
    except Exception as error:
        raise IntegrityError(f"{path} is not an export of a collection: {error}") from error


def import_collection(index: VectorIndex, collection: str, path: Path) -> int:
    """Write an exported file's points to a collection, replacing those with the same id; return their number.

    Raises `CollectionConflict` where the collection holds another connector's vectors, `ConfigError` for a
    point that does not fit, and what `read_layout` does.
    """
    connector = read_layout(path).connector
    count = 0
    for points in _read(path):
        index.upsert(collection, points, connector)
        count += len(points)
    return count


def _read(path: Path) -> Iterator[list[Point]]:
    _, parquet = _pyarrow()
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS):
            try:
                yield [_point(row) for row in batch.to_pylist()]
            except (KeyError, TypeError, ValueError) as error:
                raise IntegrityError(f"{path} has a row that is no point: {error}") from error


def _row(point: Any) -> dict[str, Any]:
    rest = {key: value for key, value in point.payload.items() if key != "metadata"}
    return {
        "id": point.id,
        "modality": point.modality,
        "space": point.space,
        "vector": point.unified,
        "native": point.native,
        "metadata": json.dumps(point.payload.get("metadata") or {}),
        "payload": json.dumps(rest),
    }


def _point(row: dict[str, Any]) -> Point:
    return Point(
        row["id"],
        row["modality"],
        row["space"],
        np.asarray(row["vector"], dtype=np.float32),
        np.asarray(row["native"], dtype=np.float32),
        {**json.loads(row["payload"]), "metadata": json.loads(row["metadata"])},
    )


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError("Parquet needs pyarrow: pip install 'isthmus[parquet]'") from error
    return pyarrow, pyarrow.parquet
