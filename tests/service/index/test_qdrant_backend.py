"""What is special to a Qdrant server: its answers take their time, and what they tell may be over by then."""

from collections.abc import Callable, Iterator

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
