"""Work is done once on the way into the index and out of it."""

import asyncio
import io
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import jpeg

from connectors.calibration import Calibration
from service.engine.embedding import Embedding
from service.engine.media_input import MediaInput
from service.index.protocol import CollectionInfo, Point
from service.pipeline import EmbedInput, Pipeline
from service.runtime import Runtime
from service.schemas.requests import SearchParams
from service.search.scoring import QueryPart
from service.search.search import search
from service.settings import Settings
from service.timings import Timings

PATIENCE = 60.0


@pytest.fixture
def settings(tiny_bundle: Path, tmp_path: Path) -> Settings:
    return Settings(bundle=str(tiny_bundle), data_dir=tmp_path, index="local")


def with_pipeline(settings: Settings, work: Callable[[Pipeline], Awaitable[None]]) -> None:
    async def scenario() -> None:
        runtime = Runtime(settings)
        try:
            await runtime.load()
            await work(runtime.pipeline)
        finally:
            runtime.drain()
            await runtime.close()

    asyncio.run(scenario())


class CountingFile(io.BytesIO):
    """A spooled upload that counts how often the whole of it is read."""

    whole_reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.whole_reads += size in (-1, None)
        return super().read(size)


async def store(pipeline: Pipeline, media: MediaInput, collection: str = "default") -> None:
    inputs = [EmbedInput(media, "picture")]
    outcomes = await pipeline.embed(Timings(), [media], PATIENCE)
    assert isinstance(outcomes[0], Embedding)
    await pipeline.store(Timings(), collection, inputs, outcomes)


def test_an_upload_is_read_and_hashed_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    data = jpeg(7)
    hashed = Counter[bytes]()
    sha256 = hashlib.sha256

    def counting(content: Any = b"", **options: Any) -> Any:
        hashed[bytes(content)] += 1
        return sha256(content, **options)

    async def work(pipeline: Pipeline) -> None:
        file = CountingFile(data)
        monkeypatch.setattr("hashlib.sha256", counting)
        await store(pipeline, MediaInput(file, len(data), "a.jpg", filename="a.jpg"))
        assert (file.whole_reads, hashed[data]) == (1, 1)
        [point] = pipeline.index.get("default", ["picture"])
        assert pipeline.media.read(point.payload["media"]) == data

    with_pipeline(settings, work)


def test_known_content_is_not_written_and_counts_no_collection_and_looks_into_none_for_its_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = jpeg(8)

    def media() -> MediaInput:
        return MediaInput(data, len(data), "a.jpg", filename="a.jpg")

    async def work(pipeline: Pipeline) -> None:
        for collection in ("default", "other"):
            await store(pipeline, media(), collection)

        def never(*arguments: object, **options: object) -> list[CollectionInfo]:
            raise AssertionError("nothing of this is needed for content that is there")

        for name in ("collections", "count", "scroll", "upsert"):
            monkeypatch.setattr(pipeline.index, name, never)
        await store(pipeline, media())
        assert len(pipeline.index.get("default", ["picture"])) == 1

    with_pipeline(settings, work)


def points_of(pipeline: Pipeline) -> Iterator[Point]:
    space = pipeline.space
    for number, modality in enumerate(space.modalities):
        dim = space.encoder_of(modality).dim
        native = np.eye(dim, dtype=np.float32)[number]
        unified = np.eye(space.dim, dtype=np.float32)[number]
        yield Point(
            modality, modality, space.space_of(modality), unified, native, {"metadata": {"n": number}}
        )


def test_a_search_over_all_modalities_is_one_message_and_its_filter_is_parsed_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Counter[str]()

    async def work(pipeline: Pipeline) -> None:
        pipeline.index.upsert("default", list(points_of(pipeline)))
        backend = pipeline.index.backend
        for owner, name in ((backend, "query"), (pipeline.index, "search_each")):
            monkeypatch.setattr(owner, name, counted(getattr(owner, name), name))
        from service.index import vector_index

        monkeypatch.setattr(vector_index, "parse_filter", counted(vector_index.parse_filter, "parse"))
        params = SearchParams(filter={"must": [{"key": "metadata.n", "range": {"gte": 1}}]})
        query = [QueryPart(np.ones(pipeline.space.dim, np.float32), 1.0, "text")]
        hits = await search(pipeline, Timings(), pipeline.space, query, params)
        assert {each.hit.point.modality for each in hits} == set(pipeline.space.modalities[1:])
        assert calls == {"query": 1, "search_each": 1, "parse": 1}

    def counted(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*arguments, **options)

        return call

    with_pipeline(settings, work)


def test_one_search_has_one_calibration_though_connectors_are_switched_meanwhile(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = list[Calibration]()

    async def work(pipeline: Pipeline) -> None:
        pipeline.index.upsert("default", list(points_of(pipeline)))
        before = pipeline.space
        after = before.with_connectors(before.connectors, Calibration.none())
        find = pipeline.index.search_each

        def switched_meanwhile(*arguments: Any, **options: Any) -> Any:
            pipeline.engine.adopt(after)
            return find(*arguments, **options)

        def noting(ranked: Any, diversity: float, calibration: Calibration) -> Any:
            used.append(calibration)
            return ranked

        monkeypatch.setattr(pipeline.index, "search_each", switched_meanwhile)
        monkeypatch.setattr("service.search.search.diversified", noting)
        query = [QueryPart(np.ones(before.dim, np.float32), 1.0, "text")]
        await search(pipeline, Timings(), before, query, SearchParams(diversity=0.5))
        assert pipeline.space is after
        assert used == [before.calibration]

    with_pipeline(settings, work)
