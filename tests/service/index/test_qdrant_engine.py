"""What is special to a Qdrant server: its answers take their time, and what they tell may be over by then."""

from collections.abc import Callable, Iterator

import pytest
from qdrant_client import QdrantClient
from qdrant_client.http import models

from service.index.qdrant_engine import QdrantEngine

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
def engine(client: LateAnswers) -> Iterator[QdrantEngine]:
    engine = QdrantEngine(client, local=False)
    yield engine
    engine.close()


def test_aliases_from_before_a_switch_are_not_kept_after_it(
    engine: QdrantEngine, client: LateAnswers
) -> None:
    first, second = (engine.create("birds", LAYOUT, {}) for _ in range(2))
    engine.switch({"birds": first.name})
    client.meanwhile = lambda: engine.switch({"birds": second.name})
    assert engine.current()["birds"].name == first.name, "asked before the switch"
    assert engine.current()["birds"].name == second.name
