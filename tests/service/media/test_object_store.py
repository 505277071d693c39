"""A service whose media are in an S3-compatible object store, over its real client and a real socket."""

import signal

import fsspec
from media_files import jpeg
from object_store import ObjectStore
from server_process import StartServer

PICTURES = {f"picture/{number}": jpeg(number) for number in range(4)}


def test_media_are_kept_in_the_object_store_and_nowhere_else(
    object_store: ObjectStore, start_server: StartServer
) -> None:
    bucket, files = object_store.bucket(), fsspec.filesystem("s3")

    def kept() -> list[str]:
        files.invalidate_cache()
        return sorted(files.find(f"{bucket}/media/files"))

    server = start_server(ISTHMUS_MEDIA_URL=f"s3://{bucket}/media")
    sent = [("files", (f"{name}.jpg", data)) for name, data in PICTURES.items()]
    ids = "[" + ",".join(f'"{name}"' for name in PICTURES) + "]"
    assert server.client.post("/embed", files=sent, data={"ids": ids}).status_code == 200
    assert len(kept()) == len(PICTURES)
    assert not list((server.data_dir / "media").rglob("?" * 64)), "none is on this machine's disk"
    server.stop(signal.SIGKILL)
    server.start()
    server.wait_ready()
    for name, data in PICTURES.items():
        point = server.client.get(f"/points/{name.replace('/', '%2F')}").json()
        assert server.client.get(point["media_url"]).content == data
        assert server.client.get(f"{point['media_url']}?size=64").status_code == 200
    deleted = server.client.delete("/points/picture%2F0")
    assert deleted.status_code == 200
    assert server.client.get("/points/picture%2F0").status_code == 404
    assert len(kept()) == len(PICTURES) - 1
    assert server.stop() == 0


def test_a_store_that_does_not_answer_is_said_to_be_at_fault_and_nothing_is_indexed(
    object_store: ObjectStore, start_server: StartServer
) -> None:
    own = ObjectStore()
    server = start_server(ISTHMUS_MEDIA_URL=f"s3://{own.bucket()}/media", FSSPEC_S3_ENDPOINT_URL=own.url)
    own.stop()
    reply = server.client.post("/embed", files=[("files", ("a.jpg", jpeg(1)))])
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "media_store_unavailable"), reply.text
    assert server.client.get("/points").json()["points"] == []
