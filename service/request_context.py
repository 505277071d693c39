"""What is known of a request while it is answered: its id, its deadline, and where its time went."""

import math
import random
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import Scope

from service.engine.embedding import Stages
from service.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

SCOPE_KEY = "isthmus"
_random = random.Random()
"""Its own, begun by the system: others seed the one that is everybody's."""
TIMEOUT_HEADER = "x-request-timeout"
LONGEST_ID = 128


def new_id() -> str:
    """An id for a request: 32 hexadecimal digits.

    Not by `uuid4`: asking the system for randomness gives up the interpreter, and having it back from the
    encoders' threads takes longer than all else that a request turned away costs.
    """
    return f"{_random.getrandbits(128):032x}"


@dataclass(slots=True)
class RequestContext:
    """One request. Times are seconds on `time.perf_counter`'s clock."""

    id: str = field(default_factory=new_id)
    started: float = field(default_factory=time.perf_counter)
    queue: float = 0.0
    decode: float = 0.0
    inference: float = 0.0
    index: float = 0.0
    _indexing: int = 0
    _index_started: float = 0.0

    def add(self, stages: Iterable[Stages]) -> None:
        """Count items that went through the engine together: each stage lasts as long as its slowest."""
        for stage in stages:
            self.queue = max(self.queue, stage.queue)
            self.decode = max(self.decode, stage.decode)
            self.inference = max(self.inference, stage.inference)

    @contextmanager
    def indexing(self) -> "Iterator[None]":
        """Count the time of a block as the index's; of several at once, the time that passes."""
        if not self._indexing:
            self._index_started = time.perf_counter()
        self._indexing += 1
        try:
            yield
        finally:
            self._indexing -= 1
            if not self._indexing:
                self.index += time.perf_counter() - self._index_started

    def milliseconds(self) -> dict[str, float]:
        """Time in each stage so far, and in all, in milliseconds."""
        total = time.perf_counter() - self.started
        stages = {
            "queue": self.queue,
            "decode": self.decode,
            "inference": self.inference,
            "index": self.index,
            "total": total,
        }
        return {name: round(seconds * 1000, 3) for name, seconds in stages.items()}


def context_of(request: Request) -> RequestContext:
    """The context the envelope gave this request."""
    context: RequestContext = request.scope[SCOPE_KEY]
    return context


def open_context(scope: Scope, request_id: str | None) -> RequestContext:
    """Give a request its context, under the id the client chose if that is printable and short."""
    known = request_id is not None and len(request_id) <= LONGEST_ID and request_id.isprintable()
    context = RequestContext(id=request_id) if known and request_id else RequestContext()
    scope[SCOPE_KEY] = context
    return context


def seconds_left(request: Request, default: float) -> float:
    """Time until the request's deadline: `X-Request-Timeout` seconds after it came, or `default`.

    Raises `InvalidRequest` for a header that is not a positive number.
    """
    given = request.headers.get(TIMEOUT_HEADER)
    timeout = default
    if given is not None:
        try:
            timeout = float(given)
        except ValueError:
            timeout = math.nan
        if not 0 < timeout < math.inf:
            raise InvalidRequest(
                f"X-Request-Timeout is {given!r}; give a positive number of seconds", "X-Request-Timeout"
            )
    return context_of(request).started + timeout - time.perf_counter()
