"""A running service is backed up while others write; what a kill left over is collected."""

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from media_files import png
from server_process import StartServer
from starlette.types import Message
from typer.testing import CliRunner
from vector_tolerance import assert_same_vectors
from waiting import async_until, until

from service.backup.directory import check_backup
from service.commands.store import app
from service.errors import IndexUnavailable
from service.http.app import create_app
from service.runtime import Runtime
from service.settings import Settings


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_backs_a_running_service_up(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    kept = png("purple")
    form = {"ids": '["p"]', "metadata": '{"kept": true}'}
    assert server.client.post("/embed", files={"files": ("p.png", kept)}, data=form).is_success
    before = server.client.get("/points/p", params={"with_vectors": True}).json()

    def write(number: int) -> bool:
        body = {"items": [{"text": f"text {number}", "id": f"t{number}"}], "collection": "more"}
        return httpx.post(f"{server.url}/embed", json=body, timeout=240).is_success

    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write, number) for number in range(20)]
        said = run("backup", tmp_path / "backup", "--url", server.url)
        assert all(each.result() for each in writing)
    assert "files in" in said
    assert "default" in check_backup(tmp_path / "backup")["collections"]
    assert server.stop() == 0
    run("restore", tmp_path / "backup", "--data-dir", tmp_path / "restored")
    server.data_dir.rename(tmp_path / "lost")
    (tmp_path / "restored").rename(server.data_dir)
    server.start()
    server.wait_ready()
    after = server.client.get("/points/p", params={"with_vectors": True}).json()
    assert_same_vectors(after.pop("vector"), before.pop("vector"))
    assert after == before
    assert server.client.get("/media/p").content == kept
    page = server.client.get("/points", params={"collection": "more"}).json()
    for point in page.get("points", []):  # the backup may precede the collection
        assert server.client.get(point["media_url"]).text == point["text"]


POST: dict[str, object] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/backup",
    "raw_path": b"/backup",
    "query_string": b"",
    "headers": [],
}
"""The request for a backup, as a server has it for the app."""


@pytest.mark.parametrize("refused", [False, True], ids=["its client is gone", "the index refuses"])
def test_a_backup_that_never_begins_leaves_nothing_and_holds_no_deletion_up(
    refused: bool, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = create_app(Settings(bundle=str(tiny_bundle), data_dir=tmp_path / "data"))
    runtime: Runtime = api.state.runtime
    copied, swept, sent = list[Path](), list[bool](), list[int]()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        copied.extend(runtime.scratch.iterdir())
        if not refused:
            await asyncio.Event().wait()  # nobody takes it
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    def refuse(*arguments: object) -> None:
        raise IndexUnavailable("the index does not answer")

    async def run() -> None:
        await runtime.load()
        monkeypatch.setattr(runtime, "sweep_soon", lambda: swept.append(True))
        try:
            if refused:
                monkeypatch.setattr("service.backup.stream.copy_data", refuse)
            await api(POST, receive, send)
            await async_until(lambda: swept)
        finally:
            await runtime.close()

    asyncio.run(run())
    assert (len(copied), sent) == ((0, [503]) if refused else (1, []))
    assert list(runtime.scratch.iterdir()) == []


def test_orphans_are_gone_after_the_next_start(start_server: StartServer) -> None:
    server = start_server()
    assert server.client.post("/embed", files={"files": ("p.png", png())}).is_success
    [named] = files_of(server.data_dir)
    server.stop(signal.SIGKILL)
    orphan = server.data_dir / "media" / "files" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"its point was never written")
    server.start()
    server.wait_ready()
    until(lambda: not orphan.exists())
    assert files_of(server.data_dir) == [named]


def files_of(data_dir: Path) -> list[Path]:
    return [Path(folder) / name for folder, _, names in os.walk(data_dir / "media/files") for name in names]
