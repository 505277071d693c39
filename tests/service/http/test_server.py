"""What the server process does around the app."""

import gc
import socket

import pytest

from connectors.errors import ConfigError
from service.http.server import freeze_loaded_objects, listen


def test_connections_do_not_wait_with_small_packets() -> None:
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_cannot_be_had_is_named() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: .* --port"):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"nowhere\.invalid"):
        listen("nowhere.invalid", 0)


def test_what_is_loaded_is_not_gone_through_again_and_what_comes_later_is() -> None:
    class Node:
        """Refers to itself, so that only the collector can free it."""

        freed = 0

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            Node.freed += 1

    try:
        kept = Node()
        freeze_loaded_objects()
        assert gc.get_freeze_count() > 1000
        del kept
        Node()
        gc.collect()
        assert Node.freed == 1
    finally:
        gc.unfreeze()
