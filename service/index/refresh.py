"""An index brought to another connector, from the native vectors it keeps, while it is read and written.

`Refresh` is given the index, the layout it is to have and a projection; it gives every collection a second
generation, brings that up to what the first holds, and lets all of them be read at once. What it left half
done, a later one goes on with: records are compared by their revision, and only those that differ are
brought over. So going back to the generation that was read before costs what was written since.
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
"""Space, modality and native vectors [n, d] -> unified vectors [n, dim]; None: the native ones themselves."""

PAGE = 64
"""Records read at once with their vectors: searches wait behind them."""


@dataclass
class Tally:
    """Records a refresh has looked at, projected, taken over as they were, and removed."""

    seen: int = 0
    projected: int = 0
    unchanged: int = 0
    removed: int = 0


class Refresh:
    """One refresh of an index to `layout`. For one thread at a time; close it in any case.

    `steps` until they end, `finish_indexing`, and `switch`; where `switch` finds that collections came
    meanwhile, the same again. Raises `IndexUnavailable` where the back end fails, and whatever `project`
    raises; then everything is read and written as before.
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
        """Stop noting what is written. What was brought over stays, for the next refresh. Idempotent."""
        for collection in self._copies:
            self._index.written.pop(collection, None)
        self._copies = {}

    def total(self) -> int:
        """How many records there are to look at, now."""
        backend = self._index.backend
        return sum(backend.count(each.name, None) for each in self._outdated().values())

    def steps(self) -> Iterator[None]:
        """Bring every collection's records over, a few a step."""
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
        """Have the new generations indexed, so that searches are as fast in them as before.

        False, soon, once `given_up` said so: to be called anew before `switch`.
        """
        for copy in list(self._copies.values()):
            if not self._still_reads(copy):
                continue
            try:
                if not self._index.backend.finish_indexing(copy.target.name, given_up):
                    return False
                for _ in copy.draw_near(self._project, self.tally):
                    pass
            except IndexUnavailable:
                if self._still_reads(copy):
                    raise  # else the collection was deleted meanwhile
        return True

    def switch(self) -> bool:
        """Let every collection read its new generation, all at once; False where one came meanwhile.

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
        """After a switch: keep of the generations only those read now, and those read before, at rest."""
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
        """Collections of another connector that have no copy yet."""
        return {
            collection: generation
            for collection, generation in self._outdated().items()
            if collection not in self._copies or self._copies[collection].source.name != generation.name
        }

    def _begin(self, collection: str, source: Generation) -> "_Copy | None":
        """Find or make a collection's next generation, and note from now on what is written."""
        index, backend = self._index, self._index.backend
        with index.creating:
            if backend.current().get(collection) != source:
                return None
            layout = replace(self._layout, natives=source.layout.natives)
            begun = [
                each for each in backend.generations(collection) if each.layout.connector == layout.connector
            ]
            target = begun[-1] if begun else backend.create(collection, layout, source.fields)
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
    """One collection's next generation in the making."""

    def __init__(self, index: VectorIndex, collection: str, source: Generation, target: Generation) -> None:
        self.collection = collection
        self.source = source
        self.target = target
        self._index = index
        self._backend = index.backend
        self._fresh = self._backend.count(target.name, None) == 0

    def walk(self, project: Project, tally: Tally) -> Iterator[None]:
        """Bring every record over, a page a step, each followed by what was written meanwhile."""
        offset: str | None = None
        size = PAGE if self._fresh else BATCH
        while True:
            page, offset = self._backend.scroll(self.source.name, None, size, offset, self._fresh)
            for each in [page] if self._fresh else self._differing(page):
                self._bring(each, project, tally)
            tally.seen += len(page)
            self.catch_up(project, tally)
            yield
            if offset is None:
                break
        yield from self.draw_near(project, tally)
        if not self._fresh:
            yield from self._sweep(project, tally)

    def behind(self) -> int:
        """How many records were written that this has not caught up with."""
        return len(self._index.written[self.collection])

    def catch_up(self, project: Project, tally: Tally) -> None:
        """Bring up to `PAGE` written records over as they are now, or are no more."""
        written = self._index.written[self.collection]
        uuids = [written.popitem()[0] for _ in range(min(PAGE, len(written)))]
        if not uuids:
            return
        found = self._backend.retrieve(self.source.name, uuids, with_vectors=True)
        self._bring(found, project, tally)
        self._remove(sorted(set(uuids) - {each.uuid for each in found}), tally)

    def draw_near(self, project: Project, tally: Tally) -> Iterator[None]:
        """Catch up but for `PAGE` records, a turn a step; a writer that never pauses is caught too."""
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
        """Of a page without vectors the records that the target lacks or has older, with their vectors."""
        uuids = [each.uuid for each in page]
        there = self._backend.retrieve(self.target.name, uuids, with_vectors=False)
        revisions = {each.uuid: each.payload["revision"] for each in there}
        differing = [each.uuid for each in page if revisions.get(each.uuid) != each.payload["revision"]]
        for start in range(0, len(differing), PAGE):
            yield self._backend.retrieve(self.source.name, differing[start : start + PAGE], with_vectors=True)

    def _sweep(self, project: Project, tally: Tally) -> Iterator[None]:
        """Remove from the target what the source holds no more."""
        with self._index.writing(self.collection):  # a new record yet to bring over would hide a deleted one
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

    def _bring(self, records: Sequence[Record], project: Project, tally: Tally) -> None:
        """Write records to the target, each with the unified vector that the new connector gives it."""
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
