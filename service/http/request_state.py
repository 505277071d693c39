"""The state that the middleware adds to a request: its id, its timings and its deadline."""

import math
import random
import time
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import Scope

from service.errors import InvalidRequest
from service.timings import Timings

TIMEOUT_HEADER = "x-request-timeout"
LONGEST_ID = 128
_SCOPE_KEY = "isthmus"
_random = random.Random()
"""A generator of its own, seeded by the system: others seed the one that is everybody's."""


def new_id() -> str:
    """Return an id for a request: 32 hexadecimal digits.

    Not by `uuid4`: asking the system for randomness releases the interpreter, and getting it back from the
    encoders' threads takes longer than the rest of a refused request.
    """
    return f"{_random.getrandbits(128):032x}"


@dataclass(frozen=True, slots=True)
class RequestState:
    """One request's id and timings."""

    id: str = field(default_factory=new_id)
    timings: Timings = field(default_factory=Timings)


def open_state(scope: Scope, request_id: str | None) -> RequestState:
    """Add the state to a request, with the client's own id where that is printable and short."""
    usable = request_id is not None and len(request_id) <= LONGEST_ID and request_id.isprintable()
    state = RequestState(request_id) if usable and request_id else RequestState()
    scope[_SCOPE_KEY] = state
    return state


def state_of(request: Request) -> RequestState:
    """Return the state that the middleware added to this request."""
    state: RequestState = request.scope[_SCOPE_KEY]
    return state


def id_of(scope: Scope) -> str:
    """Return a request's id; empty for one that never came through the middleware."""
    return scope[_SCOPE_KEY].id if _SCOPE_KEY in scope else ""


def seconds_left(request: Request, default: float) -> float:
    """Return the seconds until the request's deadline: `X-Request-Timeout` after it arrived, or `default`.

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
    return state_of(request).timings.started + timeout - time.perf_counter()
