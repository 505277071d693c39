"""The pipeline behind the operations: media in, vectors out, points and their media stored and deleted.

Holds `Pipeline`: the engine, the index and the media store of a loaded service, and the lock of a switch of
connectors. Routes, search, jobs and the sample gallery get it, and never the runtime that loaded it.
`PointStore` keeps the index and the media store in step.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from connectors.errors import InvalidMedia, IsthmusError
from connectors.space import UnifiedSpace
from service.engine.embedding import Embedding, Vectors, project_again
from service.engine.engine import Engine
from service.engine.media_input import MediaInput
from service.errors import BatchFailed, CollectionConflict, InvalidRequest, ItemError
from service.index.field_values import check_values
from service.index.protocol import Filter, Index, Point, StoredPoint
from service.index.vector_index import VectorIndex
from service.media.store import PAGE, MediaStore, Used
from service.schemas.fields import Metadata, StoredStatus
from service.schemas.validation import same_json
from service.timings import Timings

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class EmbedInput:
    """One item to embed and what is stored with it; `media` is the error where it could not be read."""

    media: MediaInput | IsthmusError
    id: str | None = None
    metadata: Metadata | None = None


_DATA_URI = re.compile(rb"\s*data:(?:(?P<kind>[\w.+-]+)/[\w.+-]+)?(?:;[\w.+-]+(?:=[^,;]*)?)*,", re.IGNORECASE)
_LONGEST_URI_HEAD = 512
"""Bytes at the start of a text that are looked at for a data: URI."""
_FIELDS: Mapping[str, str] = {"image": "image", "audio": "audio", "video": "audio", "model": "point_cloud"}
"""The field of a body for each kind of content type."""

Outcome = Embedding | IsthmusError
"""An item embedded, or the reason why it is not."""


class PointStore:
    """The index and the media store as one: points are written and deleted with the files they name.

    Its calls block: not for the event loop.
    """

    def __init__(self, index: Index, media: MediaStore) -> None:
        self._index = index
        self._media = media

    def upsert(
        self,
        collection: str,
        points: Sequence[Point],
        replaced: Iterable[StoredPoint],
        connector: str | None = None,
    ) -> None:
        """Write points, and delete the files of those they replace that no point names any more.

        The files of `points` themselves are in a `MediaStore.adding` block around this.
        """
        self._index.upsert(collection, points, connector)
        kept = _media_keys(points)
        self._media.delete_all(_media_keys(replaced) - kept, used_in(self._index))

    def delete(self, collection: str, ids: Sequence[str]) -> list[str]:
        """Delete points and the files that no other point names; return the ids that were there."""
        points = self._index.get(collection, ids)
        deleted = self._index.delete(collection, ids)
        self._media.delete_all(_media_keys(points), used_in(self._index))
        return deleted

    def delete_matching(self, collection: str, where: Filter) -> list[str]:
        """Delete the points a filter matches, and their files as `delete` does; return their ids."""
        deleted: list[str] = []
        while True:
            page, _ = self._index.scroll(collection, PAGE, where=where)
            if not page:
                return deleted
            deleted += self.delete(collection, [point.id for point in page])

    def drop(self, collection: str) -> bool:
        """Delete a collection and the files that no other's points name; return False if there is none."""
        keys: set[str] = set()
        cursor: str | None = None
        while True:
            points, cursor = self._index.scroll(collection, PAGE, cursor)
            keys |= _media_keys(points)
            if cursor is None:
                break
        dropped = self._index.drop(collection)
        self._media.delete_all(keys, used_in(self._index))
        return dropped


class Pipeline:
    """The engine, the index and the media store of one service. For the event loop; owns its threads.

    `engine`, `index` and `media` belong to the caller, which closes them after `close`.
    """

    def __init__(self, engine: Engine, index: VectorIndex, media: MediaStore, threads: int) -> None:
        self.engine = engine
        self.index = index
        self.media = media
        self.points = PointStore(index, media)
        self.switching = asyncio.Lock()
        """Held while connectors are switched."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="index")

    @property
    def space(self) -> UnifiedSpace:
        """The unified space in use."""
        return self.engine.space

    async def close(self) -> None:
        """Wait for running calls to the index and the media store."""
        await asyncio.to_thread(self._threads.shutdown)

    async def call_index(self, timings: Timings, function: Callable[[], T]) -> T:
        """Run a call to the index or the media store on a thread of their own, and time it."""
        with timings.indexing():
            return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def in_one_space(self, work: Callable[[UnifiedSpace], Awaitable[T]]) -> T:
        """Do work in the index's space; do all of it again where connectors are switched meanwhile."""
        while True:
            space = self.space
            try:
                return await work(space)
            except CollectionConflict:
                async with self.switching:
                    pass
                if self.space is space:
                    raise

    async def embed(
        self,
        timings: Timings,
        inputs: Sequence[MediaInput | IsthmusError],
        seconds_left: float,
        space: UnifiedSpace | None = None,
    ) -> list[Outcome]:
        """Embed the inputs that could be read, in `space` or the one in use, keeping errors at their places.

        Raises what `Engine.embed` does.
        """
        given = [each if isinstance(each, IsthmusError) else _not_a_uri(each) for each in inputs]
        readable = [each for each in given if not isinstance(each, IsthmusError)]
        embedded = iter(await self.engine.embed(readable, seconds_left, space))
        outcomes = [each if isinstance(each, IsthmusError) else next(embedded) for each in given]
        timings.add(each.stages for each in outcomes if isinstance(each, Embedding))
        return outcomes

    async def store(
        self,
        timings: Timings,
        collection: str,
        inputs: Sequence[EmbedInput],
        outcomes: Sequence[Outcome],
        not_understood: bool = False,
    ) -> tuple[list[Outcome], list[StoredStatus | None]]:
        """Store the embedded items: media first, so that no indexed point ever lacks its own.

        Return the outcomes, with the errors of items that cannot be stored, and the status of each item that
        was. An id that is not there is `stored`. Of one that is, what is not given stays: its metadata and
        `created`, and where its content is the same its name and its caption, which are the content's. It is
        `unchanged`, and not written, where nothing of it differs then; else `updated`. A text of which the
        encoder knows no word is `not_stored`, unless `not_understood` is true.

        Vectors are written in the space that the index then holds, whichever they were embedded in.
        """
        created = datetime.now(UTC).isoformat(timespec="milliseconds")

        def write(space: UnifiedSpace) -> tuple[list[Outcome], list[StoredStatus | None]]:
            given = list(zip(inputs, outcomes, strict=True))
            ids = [_id(item, each) for item, each in given if isinstance(each, Embedding)]
            fields = self.index.fields(collection)
            known = {point.id: point for point in self.index.get(collection, list(dict.fromkeys(ids)))}
            latest: dict[str, Point | StoredPoint] = dict(known)
            changed: dict[str, Point] = {}
            stored: list[tuple[Outcome, StoredStatus | None]] = []
            with self.media.adding() as media:
                for item, outcome in given:
                    if isinstance(outcome, IsthmusError) or isinstance(item.media, IsthmusError):
                        stored.append((outcome, None))
                        continue
                    if not (outcome.vectors.understood or not_understood):
                        stored.append((outcome, "not_stored"))
                        continue
                    try:
                        check_values({"metadata": item.metadata}, fields, item.media.name)
                    except InvalidRequest as error:
                        stored.append((error, None))
                        continue
                    key = media.put_soon(item.media.read(), item.media.sha256())
                    before = latest.get(_id(item, outcome))
                    kept = {"created": created, **_kept(before, outcome), "media": key}
                    point = _point(space, item, item.media, outcome, kept)
                    status = _status(point, before)
                    if status != "unchanged":
                        latest[point.id] = changed[point.id] = point
                    stored.append((outcome, status))
                media.wait()
                if changed:
                    replaced = [known[each] for each in changed if each in known]
                    self.points.upsert(collection, list(changed.values()), replaced, space.connector_version)
            return [outcome for outcome, _ in stored], [status for _, status in stored]

        return await self.in_one_space(lambda space: self.call_index(timings, partial(write, space)))


def check_inputs(inputs: Sequence[EmbedInput], max_items: int) -> None:
    """Raise `InvalidRequest` for no items, too many, or two with one id."""
    check_count(len(inputs), max_items, "items")
    seen: dict[str, int] = {}
    for index, item in enumerate(inputs):
        if item.id is not None and seen.setdefault(item.id, index) != index:
            raise InvalidRequest(f"items {seen[item.id]} and {index} have the same id {item.id!r}", "ids")


def check_count(count: int, max_items: int, param: str) -> None:
    """Raise `InvalidRequest` for a request of no items, or of too many."""
    if not count:
        raise InvalidRequest("there is nothing to embed: send at least one item", param)
    if count > max_items:
        raise InvalidRequest(f"{count} items are too many for one request; the limit is {max_items}", param)


def raise_if_all_failed(outcomes: Sequence[Outcome]) -> None:
    """Raise `BatchFailed` where every item failed."""
    errors = [ItemError(i, each) for i, each in enumerate(outcomes) if isinstance(each, IsthmusError)]
    if len(errors) == len(outcomes):
        raise BatchFailed(errors)


def embeddings_of(outcomes: Sequence[Outcome], field: str) -> list[Embedding]:
    """Return the embeddings of items none of which may fail; `field` is the request's name for them.

    Raises `BatchFailed` where some failed.
    """
    errors = [ItemError(i, each) for i, each in enumerate(outcomes) if isinstance(each, IsthmusError)]
    if errors:
        raise BatchFailed(errors, field)
    return [each for each in outcomes if isinstance(each, Embedding)]


def refuse_truncated(
    inputs: Sequence[MediaInput | IsthmusError], outcomes: Sequence[Outcome]
) -> list[Outcome]:
    """Return the outcomes with an `InvalidRequest` in place of each text that was cut."""

    def refusal(name: str, vectors: Vectors) -> IsthmusError | None:
        if vectors.given is None:
            return None
        return InvalidRequest(
            f"{name} has {vectors.given:,} tokens, of which the encoder reads {vectors.tokens:,}; "
            "shorten it, or have its end left out: truncate=true"
        )

    return _refused(inputs, outcomes, refusal)


def refuse_not_understood(
    inputs: Sequence[MediaInput | IsthmusError], outcomes: Sequence[Outcome]
) -> list[Outcome]:
    """Return the outcomes with an `InvalidMedia` in place of each text of which no word is known."""

    def refusal(name: str, vectors: Vectors) -> IsthmusError | None:
        if vectors.understood:
            return None
        return InvalidMedia(
            f"{name} has no word that the text encoder knows: its vector would say nothing about it"
        )

    return _refused(inputs, outcomes, refusal)


def _refused(
    inputs: Sequence[MediaInput | IsthmusError],
    outcomes: Sequence[Outcome],
    refusal: Callable[[str, Vectors], IsthmusError | None],
) -> list[Outcome]:
    """Return the outcomes, each embedding that there is a refusal for replaced by that."""
    return [
        refusal(given.name, outcome.vectors) or outcome
        if isinstance(given, MediaInput) and isinstance(outcome, Embedding)
        else outcome
        for given, outcome in zip(inputs, outcomes, strict=True)
    ]


def used_in(index: Index) -> Used:
    """Return a function that selects, of some media keys, those that points of any collection name."""

    def used(keys: Set[str]) -> Set[str]:
        found: set[str] = set()
        for collection in index.names() if keys else ():
            while missing := sorted(keys - found):
                where = {"must": [{"key": "media", "match": {"any": missing}}]}
                points, _ = index.scroll(collection, PAGE, where=where)
                if not points:
                    break
                found |= _media_keys(points)
        return found

    return used


def _not_a_uri(media: MediaInput) -> MediaInput | InvalidRequest:
    """Return the media, or the error of a data: URI sent as a text: its vector would be one of letters."""
    found = _DATA_URI.match(media.read()[:_LONGEST_URI_HEAD]) if media.is_text else None
    if found is None or not (found["kind"] or b";base64" in found[0].lower()):
        return media
    kind = (found["kind"] or b"").decode().lower()
    field = f"the field {_FIELDS[kind]!r}" if kind in _FIELDS else "the field of its modality"
    return InvalidRequest(
        f"{media.name} is a data: URI sent as a text; send it in {field} of a JSON body, "
        "or the file itself in a form"
    )


def _point(
    space: UnifiedSpace, item: EmbedInput, media: MediaInput, embedding: Embedding, payload: dict[str, Any]
) -> Point:
    """Return the point of an embedded item, in `space`; `payload` holds its media and what it keeps."""
    vectors = embedding.vectors
    if vectors.connector != space.connector_version:
        vectors = project_again(space, embedding.modality, vectors)
    payload = {
        **payload,
        "mime": embedding.mime,
        "sha256": embedding.sha256,
        "name": payload.get("name") if media.filename is None else media.filename,
        "metadata": payload.get("metadata", {}) if item.metadata is None else item.metadata,
        "connector": space.connector_version,
    }
    if embedding.modality == "text":
        payload["text"] = media.read().decode("utf-8")
    return Point(
        _id(item, embedding),
        embedding.modality,
        space.space_of(embedding.modality),
        vectors.unified,
        vectors.native,
        payload,
    )


def _id(item: EmbedInput, embedding: Embedding) -> str:
    return item.id or embedding.sha256


def _kept(before: Point | StoredPoint | None, embedding: Embedding) -> dict[str, Any]:
    """Return what a point keeps of its payload where nothing else is given for it."""
    if before is None:
        return {}
    same = (before.modality, before.payload.get("sha256")) == (embedding.modality, embedding.sha256)
    names = ("created", "metadata", "name", "caption") if same else ("created", "metadata")
    return {name: before.payload[name] for name in names if before.payload.get(name) is not None}


def _status(point: Point, before: Point | StoredPoint | None) -> StoredStatus:
    if before is None:
        return "stored"
    new, old = (
        {name: value for name, value in each.payload.items() if value is not None} for each in (point, before)
    )
    return "unchanged" if point.modality == before.modality and same_json(new, old) else "updated"


def _media_keys(points: Iterable[Point | StoredPoint]) -> set[str]:
    """Return the keys of the files that points name."""
    return {key for point in points if (key := point.payload.get("media")) is not None}
