"""Opening the index that the settings name: on a Qdrant server by URL, or in the data directory."""

from pathlib import Path
from typing import Literal

from connectors.errors import ConfigError
from service.index.backend import IndexBackend, VectorStorage
from service.index.edge.edge_backend import EdgeBackend
from service.index.protocol import Layout
from service.index.qdrant_backend import QdrantBackend
from service.index.vector_index import VectorIndex
from service.settings import Settings

BackEnd = Literal["edge", "local"]


def index_folder(data_dir: Path, back_end: BackEnd) -> Path:
    """Return the folder of a data directory that a back end keeps its index in."""
    return data_dir / ("index" if back_end == "edge" else "index-local")


def open_configured(layout: Layout, settings: Settings) -> VectorIndex:
    """Open the index that the settings name; see `open_index`."""
    return open_index(
        layout,
        data_dir=settings.data_dir,
        url=settings.qdrant_url,
        api_key=settings.qdrant_api_key,
        back_end=settings.index,
        quantize=settings.index_quantize,
        on_disk=settings.index_on_disk,
    )


def open_index(
    layout: Layout,
    *,
    data_dir: Path | None = None,
    url: str | None = None,
    api_key: str | None = None,
    back_end: BackEnd = "edge",
    quantize: bool | None = None,
    on_disk: bool = False,
) -> VectorIndex:
    """Open the index for a bundle's `layout`.

    With `url` it is on that Qdrant server; else under `data_dir`, kept by Qdrant Edge or by the client's
    local mode; or in memory where `data_dir` is None. `quantize` searches an int8 copy of the vectors and
    rescores with the originals (None: where the backend can); `on_disk` keeps the originals out of memory.
    Raises `ConfigError` where the backend cannot do what is set, `IndexUnavailable` where another process
    has the data directory open.
    """
    storage = VectorStorage(quantize=quantize is not False, on_disk=on_disk)
    backend: IndexBackend
    if url:
        backend = QdrantBackend.at_url(url, api_key=api_key, storage=storage)
    elif data_dir is None or back_end == "local":
        if quantize or on_disk:
            raise ConfigError(
                "local mode scans float32 vectors in memory, without an int8 copy and never from the disk: "
                "unset ISTHMUS_INDEX_QUANTIZE and ISTHMUS_INDEX_ON_DISK, or set ISTHMUS_INDEX=edge"
            )
        backend = QdrantBackend.at_path(None if data_dir is None else index_folder(data_dir, "local"))
    else:
        backend = EdgeBackend(index_folder(data_dir, "edge"), storage=storage)
    return VectorIndex(backend, layout)
