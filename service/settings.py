"""Settings of a running service: `ISTHMUS_*` environment variables, overridden by the command line.

`isthmus config` prints every one with its value and meaning.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024


class Settings(BaseSettings):
    """All settings. Sizes are in bytes, times in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="ISTHMUS_", extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    data_dir: Path = Field(Path("isthmus-data"), description="Where the index and the media are kept")
    bundle: str = Field("compact", description="Name or path of the bundle to serve")
    connectors: str | None = Field(None, description="Connector set of the bundle; its default if unset")
    device: str = Field(
        "auto",
        description="Where the encoders run: auto (every GPU, else the CPU, where small encoders embed a "
        "batch on each core), cpu (one batch on all cores), cuda:1, or a copy on each of several: "
        "cuda:0,cuda:1; cpu,cpu on a machine of two sockets",
    )
    dtype: str | None = Field(
        None, description="auto, float32, bfloat16, float16 (CUDA) or int8 (CPU); the bundle's own if unset"
    )
    compiled: bool = Field(False, description="Run the encoders through torch.compile; pays on CUDA only")
    channels_last: bool = Field(
        False,
        description="Keep convolutions' weights channels last; pays for CLIP's ResNets in half precision",
    )
    precision: str = Field(
        "highest",
        pattern="^(highest|high|medium)$",
        description=(
            "Of float32 matrix products. With highest, a vector is the same after every start; medium makes "
            "large CLIP models up to twice as fast on CPUs with bfloat16, and changes vectors in their "
            "fourth digit"
        ),
    )

    qdrant_url: str | None = Field(None, description="A Qdrant server; an embedded index if unset")
    qdrant_api_key: str | None = Field(None, description="Its API key")
    index: Literal["edge", "local"] = Field(
        "edge", description="Embedded index: Qdrant Edge in processes of its own, or the client's local mode"
    )
    index_quantize: bool | None = Field(
        None,
        description=(
            "Search an int8 copy of the vectors and rescore with the originals; if unset, where the index "
            "can (Edge and servers; local mode cannot)"
        ),
    )
    index_on_disk: bool = Field(
        False, description="Read the original vectors from the disk instead of keeping them in memory"
    )
    media_url: str | None = Field(
        None,
        description="Where media are kept, an fsspec URL (s3://bucket/prefix); under data_dir if unset",
    )
    sweep_orphans: bool | None = Field(
        None,
        description=(
            "Delete media files that no point of this index names, at the start and every sweep_seconds; if "
            "unset, only where index and media are both in data_dir, so that none can be another service's"
        ),
    )
    sweep_seconds: float = Field(3600.0, gt=0, description="Time between two such sweeps")
    index_threads: int = Field(4, ge=1, description="Calls to the index that may run at once")

    refresh_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of its time that a refresh works; it pauses in between for searches",
    )

    max_body_bytes: int = Field(128 * MIB, ge=1, description="Largest request body")
    body_bytes: int = Field(
        512 * MIB, ge=1, description="Bytes of request bodies held in memory at once, then 429"
    )
    max_item_bytes: int = Field(100 * MIB, ge=1, description="Largest single file")
    max_items: int = Field(2048, ge=1, description="Most items in one request")
    max_results: int = Field(1000, ge=1, description="Most results of one search or page")

    ingest_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folders that ingest jobs may read, with ':' between them; none if unset"
    )
    max_archive_bytes: int = Field(2048 * MIB, ge=1, description="Largest archive or manifest uploaded")
    archive_entries: int = Field(100_000, ge=1, description="Most entries of an archive")
    archive_bytes: int = Field(16 * 1024 * MIB, ge=1, description="Most bytes an archive may unpack to")
    archive_ratio: float = Field(
        100.0, gt=1, description="Most bytes an archive may unpack to, as a multiple of its size"
    )

    queue_items: int = Field(2048, ge=1, description="Items one encoder may have waiting, then 429")
    queue_bytes: int = Field(512 * MIB, ge=1, description="Bytes one encoder may hold waiting, then 429")
    max_batch: int = Field(32, ge=1, description="Most rows (items, or windows of long audio) in a batch")
    batch_seconds: float = Field(
        0.25, gt=0, description="Target for the longest batch, so that small requests get their turn"
    )
    decode_threads: int = Field(0, ge=0, description="Threads that decode media; 0: one per core")
    cache_items: int = Field(20_000, ge=0, description="Vectors kept for content seen before")
    request_timeout: float = Field(60.0, gt=0, description="Deadline of a request that sets none")
    drain_seconds: float = Field(30.0, ge=0, description="Time running requests get when stopping")
    probe_seconds: float = Field(5.0, gt=0, description="/readyz fails if an encoder is silent this long")

    @field_validator("ingest_roots", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    log_level: Literal["critical", "error", "warning", "info", "debug"] = Field(
        "info", description="Least severe level logged: critical, error, warning, info or debug"
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value
