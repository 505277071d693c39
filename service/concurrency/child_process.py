"""Children of the service: modules of its own that run in processes of their own, at the end of a socket."""

import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection


def start_child(module: str, *arguments: str) -> tuple["subprocess.Popen[bytes]", Connection]:
    """Start a module; its process, and the connection to it.

    It is given the descriptor of its end of the connection as its first argument, and should end when the
    other end is closed. It computes on one core.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno()), *arguments],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "OMP_NUM_THREADS": "1",
            },
            start_new_session=True,  # Ctrl-C is for the parent, which then ends the child
        )
        return child, Connection(ours.detach())
