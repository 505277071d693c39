"""A service killed under the requests of a client, and brought back."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from server_process import ServerProcess
from waiting import PATIENCE


@contextmanager
def killed_under(server: ServerProcess, request: Callable[[httpx.Client], None]) -> Iterator[None]:
    """In this block a client makes request after request; at its end the service is killed and restarted.

    Fails where a request failed for any reason but the kill.
    """
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
                while True:
                    request(client)
        except httpx.TransportError:
            return  # killed
        except BaseException as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    yield
    server.stop(signal.SIGKILL)
    asking.join()
    assert not failures, failures
    server.start()
    server.wait_ready()
