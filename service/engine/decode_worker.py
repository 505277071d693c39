"""The child that decodes for `DecodeProcesses`: `python -m service.engine.decode_worker DESCRIPTOR`."""

import signal
from contextlib import suppress

from connectors.media import decode
from service.concurrency.child_process import parent_channel
from service.concurrency.messages import Failed, pack
from service.engine.decode_messages import DECODE_REQUESTS, Decode, Decoded, decoded_message

DECODE_SECONDS = 30
"""A decoder that takes longer is ended by the system, whatever it is at, even if the parent is gone."""


def main() -> None:
    """Answer each request until the parent is gone."""
    channel = parent_channel()
    with suppress(EOFError, OSError):
        while True:
            channel.send(_answer(channel.receive()))


def _answer(message: bytearray) -> bytes:
    """Return the reply to a packed request."""
    try:
        request = DECODE_REQUESTS.unpack(message)
        del message  # the request has a copy of the file
        return pack(_decoded(request))
    except Exception as error:  # the parent knows whose fault it is
        return pack(Failed.of(error))


def _decoded(request: Decode) -> Decoded:
    signal.alarm(request.seconds)
    try:
        media = decode(request.modality, request.data, name=request.name, limits=request.limits)
    finally:
        signal.alarm(0)
    return decoded_message(media)


if __name__ == "__main__":
    main()
