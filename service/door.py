"""The door: turns a request away before its body is parsed, where the queue it is for is known to be full.

Ten times too many requests are then answered at a tenth of what parsing them costs, and those accepted keep
the processor. What a request holds is told from the first bytes of its JSON; where these do not tell, it goes
on to the operation, whose own admission decides.
"""

import asyncio
import re
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from connectors.modality import MODALITIES, Modality
from service.errors import Overloaded
from service.request_context import TIMEOUT_HEADER

HOLD_SECONDS = 0.05
"""How long the door is shut behind the first that is turned away, until all who came meanwhile are told."""
LOOK_SECONDS = 1.0
"""How long the first bytes of a body are waited for here; who sends none is the operation's."""
PATHS = frozenset({"/embed", "/v1/embeddings"})
PEEK_BYTES = 2048
FIRST_MEDIA = re.compile(rb'"(text|image|audio|point_cloud|input)"\s*:\s*(?:\[\s*)?"')
"""The first piece of media in a JSON body; `input` followed by a string is a text."""
METADATA = b'"metadata"'
"""What comes after it may be a client's own "text" and no media."""

NAMES: Mapping[bytes, Modality] = {b"input": "text", **{name.encode(): name for name in MODALITIES}}

Refuse = Callable[[Modality, bool], Overloaded | None]
"""Why nothing of this modality can be taken now, or None where it can. True: it may be done however late."""


class Door:
    """Looks at requests while a queue is full. `full` says whether one is, `refuse` which."""

    def __init__(self, full: Callable[[], bool], refuse: Refuse) -> None:
        self._full = full
        self._refuse = refuse
        self._held: list[Callable[[], None]] = []

    async def look(self, scope: Scope, receive: Receive) -> tuple[Overloaded | None, Receive]:
        """Why a request is turned away, or None; and what the rest reads the body from."""
        if scope["path"] not in PATHS or scope["method"] != "POST" or not self.is_shut():
            return None, receive
        headers = Headers(scope=scope)
        if not headers.get("content-type", "application/json").lower().startswith("application/json"):
            return None, receive
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                first = await receive()
        except TimeoutError:
            return None, receive
        # Whether its own deadline can be kept is for the operation to say.
        patient = TIMEOUT_HEADER in headers
        return self.reason(first.get("body", b""), patient=patient), _replaying(first, receive)

    def is_shut(self) -> bool:
        """Whether some queue is full."""
        return self._full()

    def reason(self, body: bytes, *, patient: bool = False) -> Overloaded | None:
        """Why a request whose JSON begins so is turned away, or None; `patient`: it sets its own deadline."""
        found = FIRST_MEDIA.search(body, 0, PEEK_BYTES)
        if found is None or METADATA in body[: found.start()]:
            return None
        return self._refuse(NAMES[found[1]], patient)

    async def hold(self) -> None:
        """Wait as `when_told` says."""
        told = asyncio.Event()
        self.when_told(told.set)
        await told.wait()

    def when_told(self, tell: Callable[[], None]) -> None:
        """Call `tell` at the moment at which those turned away are told so, all at once.

        Clients that try again at once, whatever Retry-After says, would have the event loop answer nobody
        else; and between one answer and the next the encoders would have to wait for the interpreter.
        """
        if not self._held:
            asyncio.get_running_loop().call_later(HOLD_SECONDS, self._tell)
        self._held.append(tell)

    def _tell(self) -> None:
        held, self._held = self._held, []
        for tell in held:
            asyncio.get_running_loop().call_soon(tell)  # if one fails the others are called all the same


def _replaying(first: Message, receive: Receive) -> Receive:
    """`receive`, giving a message that was taken already first."""
    waiting = [first]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
