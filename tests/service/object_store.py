"""An S3-compatible object store on a socket, for tests: moto's server, which keeps all in memory."""

import uuid

import fsspec
from moto.server import ThreadedMotoServer


class ObjectStore:
    """The store, its address and how to reach it. Stop it in the end."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "FSSPEC_S3_ENDPOINT_URL": self.url,
        }

    def bucket(self) -> str:
        """A new bucket's name."""
        name = f"bucket-{uuid.uuid4().hex}"
        fsspec.filesystem("s3", endpoint_url=self.url).mkdir(name)
        return name

    def stop(self) -> None:
        self._server.stop()
