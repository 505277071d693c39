"""What is special to a Qdrant server: its answers take their time, and what they tell may be over by then."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from qdrant_client import QdrantClient
from qdrant_client.http import models

from service.index.qdrant_backend import QdrantBackend

from .conftest import LAYOUT


class LateAnswers(QdrantClient):
    """In memory; `meanwhile` is called once, when the aliases are found and not yet answered."""

    meanwhile: Callable[[], None] | None = None

    def get_aliases(self, **kwargs: object) -> models.CollectionsAliasesResponse:
        found = super().get_aliases(**kwargs)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return found


@pytest.fixture
def client() -> LateAnswers:
    return LateAnswers(":memory:")


@pytest.fixture
def backend(client: LateAnswers) -> Iterator[QdrantBackend]:
    backend = QdrantBackend(client, local=False)
    yield backend
    backend.close()


def test_aliases_from_before_a_switch_are_not_kept_after_it(
    backend: QdrantBackend, client: LateAnswers
) -> None:
    first, second = (backend.create("birds", LAYOUT, {}) for _ in range(2))
    backend.switch({"birds": first.name})
    client.meanwhile = lambda: backend.switch({"birds": second.name})
    assert backend.current()["birds"].name == first.name, "asked before the switch"
    assert backend.current()["birds"].name == second.name


def test_what_a_generation_was_made_for_is_asked_once_and_aliases_by_one_thread_at_a_time(
    client: LateAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.index.qdrant_backend.ALIAS_SECONDS", 60.0)
    asked = Counter[str]()

    def counted(name: str) -> Callable[..., Any]:
        call = getattr(client, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            asked[name] += 1
            return call(*arguments, **options)

        return counting

    writer = QdrantBackend(client, local=False)
    made = {name: writer.create(name, LAYOUT, {}).name for name in ("birds", "cats", "dogs")}
    writer.switch(made)
    for name in ("get_collection", "get_aliases"):
        monkeypatch.setattr(client, name, counted(name))
    reader = QdrantBackend(client, local=False)  # another service, which made none of them
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: dict(reader.current()), range(64)))
    assert all(each == found[0] for each in found) and found[0].keys() == made.keys()
    assert asked == {"get_collection": 3, "get_aliases": 1}
    monkeypatch.setattr(
        client, "create_payload_index", lambda *arguments, **options: None
    )  # local mode warns
    reader.declare(made["birds"], "metadata.colour", "keyword")
    asked.clear()
    assert reader.current()["birds"].fields == {"metadata.colour": "keyword"}
    assert asked == {"get_collection": 1, "get_aliases": 1}, "only what was changed is asked for again"
