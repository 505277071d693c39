"""The child that decodes for `DecodeProcesses`: `python -m service.engine.decode_worker DESCRIPTOR`."""

import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from connectors.errors import MediaError
from connectors.media import Limits, decode
from connectors.modality import Media, Modality

DECODE_SECONDS = 30
"""A decoder that takes longer is ended by the system, whatever it is at, even if the parent is gone."""


def main() -> None:
    """Answer each request with its media, or what is wrong with them, until the parent is gone."""
    connection = Connection(int(sys.argv[1]))
    with suppress(EOFError, OSError):
        while True:
            connection.send(_answer(*connection.recv()))


def _answer(
    modality: Modality, data: bytes, name: str, limits: Limits, seconds: int
) -> Media | MediaError | RuntimeError:
    """The media or the error, which is to keep nothing of what the decoder had in memory."""
    signal.alarm(seconds)
    try:
        return decode(modality, data, name=name, limits=limits)
    except MediaError as error:
        return type(error)(error.message)
    except Exception as error:  # the service's fault, not the file's: the parent logs it
        return RuntimeError(f"{type(error).__name__}: {error}")
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    main()
