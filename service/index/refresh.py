"""The refresh of an index to another connector, from its native vectors, while it is read and written.

`Refresh` takes the index, its new layout and a projection. It makes a second generation for every collection,
projects the records of the first into it, and switches all collections in one step. A later refresh continues
an unfinished one: records are compared by their revision, and only those that differ are projected. So going
back to the former generation costs only what was written since.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from connectors.modality import Modality
from service.errors import IndexUnavailable
from service.index.backend import BATCH, Generation, never
from service.index.payload import UNIFIED, native_name
from service.index.protocol import Layout
from service.index.records import Record
from service.index.vector_index import VectorIndex

Matrix = npt.NDArray[np.float32]

Project = Callable[[str, Modality, Matrix], Matrix | None]
"""Space, modality, native vectors [n, d] -> unified vectors [n, dim]; None: the native ones themselves."""

PAGE = 64
"""Records read at once with their vectors: searches wait behind them."""


@dataclass
class Tally:
    """The numbers of records that a refresh has seen, projected, copied unchanged, and removed."""

    seen: int = 0
    projected: int = 0
    unchanged: int = 0
    removed: int = 0


class Refresh:
    """One refresh of an index to `layout`. For one thread at a time; close it in any case.

    Exhaust `steps`, then call `finish_indexing` and `switch`; where `switch` returns False, for collections
    made meanwhile, do the same again. Raises `IndexUnavailable` where the backend fails, and whatever
    `project` raises; then everything is read and written as before.
    """

    def __init__(self, index: VectorIndex, layout: Layout, project: Project) -> None:
        self.tally = Tally()
        self._index = index
        self._layout = layout
        self._project = project
        self._copies: dict[str, _Copy] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop noting writes. Records already projected stay, for the next refresh. Idempotent."""
        for collection in self._copies:
            self._index.written.pop(collection, None)
        self._copies = {}

    def total(self) -> int:
        """Return the number of records to look at, now."""
        backend = self._index.backend
        return sum(backend.count(each.name, None) for each in self._outdated().values())

    def steps(self) -> Iterator[None]:
        """Project every collection's records into its new generation, a few per step."""
        while missing := self._missing():
            for collection, source in missing.items():
                if (copy := self._begin(collection, source)) is None:
                    continue
                try:
                    yield from copy.walk(self._project, self.tally)
                except Exception:
                    if self._still_reads(copy):
                        raise
                    self._forget(collection)  # deleted meanwhile

    def finish_indexing(self, given_up: Callable[[], bool] = never) -> bool:
        """Index the new generations, so that searches are as fast in them as before; return True when done.

        Return False soon after `given_up` returned True: call this again before `switch`.
        """
        for copy in list(self._copies.values()):
            if not self._still_reads(copy):
                continue
            try:
                if not self._index.backend.finish_indexing(copy.target.name, given_up):
                    return False
                for _ in copy.nearly_catch_up(self._project, self.tally):
                    pass
            except IndexUnavailable:
                if self._still_reads(copy):
                    raise  # else the collection was deleted meanwhile
        return True

    def switch(self) -> bool:
        """Let every collection read its new generation, all in one step; False where one was made meanwhile.

        Writes wait until it returns.
        """
        index = self._index
        with index.creating, ExitStack() as held:
            for collection in sorted(index.backend.current()):
                held.enter_context(index.writing(collection))
            if self._missing():
                return False
            reads: dict[str, str | None] = {}
            for collection, copy in self._copies.items():
                if self._still_reads(copy):
                    while copy.behind():
                        copy.catch_up(self._project, self.tally)
                    copy.declare()
                    reads[collection] = copy.target.name
            if reads:
                index.backend.switch(reads)
            index.layout = self._layout
        return True

    def drop_older(self) -> None:
        """Drop, after a switch, all generations but those read now and, unloaded, those read before."""
        backend = self._index.backend
        for collection, copy in self._copies.items():
            with self._index.creating:
                read = backend.current().get(collection)
                if read is None or read.name != copy.target.name:
                    continue  # deleted since the switch, and maybe made anew
                for each in backend.generations(collection):
                    if each.name == copy.source.name:
                        backend.unload(each.name)
                    elif each.name != copy.target.name:
                        backend.drop(each.name)

    def _outdated(self) -> dict[str, Generation]:
        return {
            collection: generation
            for collection, generation in self._index.backend.current().items()
            if generation.layout.connector != self._layout.connector
        }

    def _missing(self) -> dict[str, Generation]:
        """Return the collections of another connector that have no copy yet."""
        return {
            collection: generation
            for collection, generation in self._outdated().items()
            if collection not in self._copies or self._copies[collection].source.name != generation.name
        }

    def _begin(self, collection: str, source: Generation) -> "_Copy | None":
        """Find or make a collection's next generation, and begin to note writes."""
        index, backend = self._index, self._index.backend
        with index.creating:
            if backend.current().get(collection) != source:
                return None
            layout = replace(self._layout, natives=source.layout.natives)
            unfinished = [
                each for each in backend.generations(collection) if each.layout.connector == layout.connector
            ]
            target = unfinished[-1] if unfinished else backend.create(collection, layout, source.fields)
            with index.writing(collection):
                index.written[collection] = {}
            self._copies[collection] = _Copy(index, collection, source, target)
        return self._copies[collection]

    def _still_reads(self, copy: "_Copy") -> bool:
        found = self._index.backend.current().get(copy.collection)
        return found is not None and found.name == copy.source.name

    def _forget(self, collection: str) -> None:
        del self._copies[collection]
        self._index.written.pop(collection, None)


def discard(index: VectorIndex, connector: str) -> None:
    """Delete the generations made for a connector that no collection reads."""
    backend = index.backend
    with index.creating:
        for collection, read in backend.current().items():
            for each in backend.generations(collection):
                if each.layout.connector == connector and each.name != read.name:
                    backend.drop(each.name)


class _Copy:
    """One collection's next generation while it is made."""

    def __init__(self, index: VectorIndex, collection: str, source: Generation, target: Generation) -> None:
        self.collection = collection
        self.source = source
        self.target = target
        self._index = index
        self._backend = index.backend
        self._fresh = self._backend.count(target.name, None) == 0

    def walk(self, project: Project, tally: Tally) -> Iterator[None]:
        """Project every record, one page per step, each followed by the records written meanwhile."""
        offset: str | None = None
        size = PAGE if self._fresh else BATCH
        while True:
            page, offset = self._backend.scroll(self.source.name, None, size, offset, self._fresh)
            for each in [page] if self._fresh else self._differing(page):
                self._write(each, project, tally)
            tally.seen += len(page)
            self.catch_up(project, tally)
            yield
            if offset is None:
                break
        yield from self.nearly_catch_up(project, tally)
        if not self._fresh:
            yield from self._sweep(project, tally)

    def behind(self) -> int:
        """Return how many written records this has not caught up with."""
        return len(self._index.written[self.collection])

    def catch_up(self, project: Project, tally: Tally) -> None:
        """Project up to `PAGE` written records as they are now, and remove those deleted."""
        written = self._index.written[self.collection]
        uuids = [written.popitem()[0] for _ in range(min(PAGE, len(written)))]
        if not uuids:
            return
        found = self._backend.retrieve(self.source.name, uuids, with_vectors=True)
        self._write(found, project, tally)
        self._remove(sorted(set(uuids) - {each.uuid for each in found}), tally)

    def nearly_catch_up(self, project: Project, tally: Tally) -> Iterator[None]:
        """Catch up to within `PAGE` records, one turn per step, even with a writer that never pauses."""
        left = self.behind()
        while left > PAGE:
            yield
            with self._index.writing(self.collection):
                written = self.behind() - left
                for _ in range(1 + math.ceil(written / PAGE)):
                    self.catch_up(project, tally)
                left = self.behind()

    def declare(self) -> None:
        """Index the payload fields that were declared since the copy was made."""
        for key, kind in self._backend.current()[self.collection].fields.items():
            if self.target.fields.get(key) != kind:
                self._backend.declare(self.target.name, key, kind)

    def _differing(self, page: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """Yield, with vectors, a page's records that the target lacks or has in another revision."""
        uuids = [each.uuid for each in page]
        there = self._backend.retrieve(self.target.name, uuids, with_vectors=False)
        revisions = {each.uuid: each.payload["revision"] for each in there}
        differing = [each.uuid for each in page if revisions.get(each.uuid) != each.payload["revision"]]
        for start in range(0, len(differing), PAGE):
            yield self._backend.retrieve(self.source.name, differing[start : start + PAGE], with_vectors=True)

    def _sweep(self, project: Project, tally: Tally) -> Iterator[None]:
        """Remove from the target the records that the source no longer holds."""
        with self._index.writing(self.collection):  # else a new record, not copied yet, would hide a deletion
            while self.behind():
                self.catch_up(project, tally)
            if self._backend.count(self.target.name, None) == self._backend.count(self.source.name, None):
                return
        offset: str | None = None
        while True:
            page, offset = self._backend.scroll(self.target.name, None, BATCH, offset, with_vectors=False)
            uuids = {each.uuid for each in page}
            kept = self._backend.retrieve(self.source.name, sorted(uuids), with_vectors=False)
            self._remove(sorted(uuids - {each.uuid for each in kept}), tally)
            self.catch_up(project, tally)
            yield
            if offset is None:
                return

    def _write(self, records: Sequence[Record], project: Project, tally: Tally) -> None:
        """Write records to the target, each with its unified vector of the new connector."""
        groups: dict[tuple[str, Modality], list[Record]] = {}
        for each in records:
            groups.setdefault((each.payload["space"], each.payload["modality"]), []).append(each)
        made = []
        for (space, modality), group in groups.items():
            natives = np.stack([each.vectors[native_name(space)] for each in group])
            unified = project(space, modality, natives)
            if unified is None:
                tally.unchanged += len(group)
            else:
                tally.projected += len(group)
            for each, vector in zip(group, natives if unified is None else unified, strict=True):
                vectors = {**each.vectors, UNIFIED: vector}
                made.append(Record(each.uuid, self._payload(each), vectors))
        if made:
            self._backend.upsert(self.target.name, made)

    def _payload(self, record: Record) -> dict[str, Any]:
        payload = dict(record.payload)
        if "connector" in payload:
            payload["connector"] = self.target.layout.connector
        return payload

    def _remove(self, uuids: Sequence[str], tally: Tally) -> None:
        if uuids:
            self._backend.delete(self.target.name, uuids)
            tally.removed += len(uuids)
