"""The service keeps what it was given, says when it cannot take more, and stops in order."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from media_files import png
from server_process import ServerProcess

from service.server import serve
from service.settings import Settings

QUEUE_ITEMS = 600
ROW_SECONDS = 0.01


def texts(count: int, tag: str) -> dict[str, object]:
    return {"items": [{"text": f"{tag} {i}"} for i in range(count)], "store": False}


@pytest.fixture(scope="module")
def slow_server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose encoders take 10 ms an item."""
    settings = {"ISTHMUS_QUEUE_ITEMS": QUEUE_ITEMS, "TINY_ROW_SECONDS": ROW_SECONDS}
    server = ServerProcess(tiny_bundle, tmp_path_factory.mktemp("slow") / "data", **settings)
    server.wait_ready()
    yield server
    server.stop(signal.SIGKILL)


def send(server: ServerProcess, body: dict[str, object], **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}/embed", json=body, headers=headers, timeout=60)


def metric(server: ServerProcess, name: str) -> float:
    """One metric's value, 0 while it has none."""
    lines = server.client.get("/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def embedded(server: ServerProcess) -> float:
    return metric(server, 'isthmus_items_total{modality="text"}')


def wait_until_idle(server: ServerProcess) -> None:
    while metric(server, 'isthmus_admitted_items{encoder="clip"}'):
        time.sleep(0.05)


def test_what_was_acknowledged_survives_kill_9(tiny_bundle: Path, tmp_path: Path) -> None:
    server = ServerProcess(tiny_bundle, tmp_path / "data")
    server.wait_ready()
    kept = png("purple")
    assert server.client.post("/embed", files={"files": ("p.png", kept)}, data={"ids": '["p"]'}).is_success
    before = server.client.get("/points/p", params={"with_vectors": True}).json()
    server.stop(signal.SIGKILL)
    server.start()
    server.wait_ready()
    assert server.client.get("/points/p", params={"with_vectors": True}).json() == before
    assert server.client.get("/media/p").content == kept
    form = {"return_vectors": "true", "store": "false"}
    again = server.client.post("/embed", files={"files": ("p.png", kept)}, data=form).json()
    assert float(np.dot(again["items"][0]["vector"], before["vector"])) > 0.9999
    assert server.stop(signal.SIGTERM) == 0


def test_past_its_bound_the_queue_turns_requests_away(slow_server: ServerProcess) -> None:
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda i: send(slow_server, texts(300, f"many {i}")), range(3)))
    assert sorted(reply.status_code for reply in replies) == [200, 200, 429]
    refused = max(replies, key=lambda reply: reply.status_code)
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    assert 'isthmus_rejected_total{code="overloaded"} 1.0' in slow_server.client.get("/metrics").text


def test_a_small_request_passes_a_huge_one(slow_server: ServerProcess) -> None:
    finished: dict[str, float] = {}

    def post(name: str, count: int) -> None:
        assert send(slow_server, texts(count, name)).status_code == 200
        finished[name] = time.perf_counter()

    huge = threading.Thread(target=post, args=("huge", 400))
    started = time.perf_counter()
    huge.start()
    time.sleep(0.5)
    post("small", 1)
    huge.join()
    assert finished["small"] - started < (finished["huge"] - started) / 2


def test_a_deadline_is_kept_and_its_items_leave_the_queue(slow_server: ServerProcess) -> None:
    before = embedded(slow_server)
    late = send(slow_server, texts(500, "late"), **{"x-request-timeout": "0.5"})
    # Where the pace is known and the queue busy it is turned away at once: it could not be done in time.
    assert late.status_code in (429, 504)
    wait_until_idle(slow_server)
    assert embedded(slow_server) - before < 500
    wrong = send(slow_server, texts(1, "never"), **{"x-request-timeout": "soon"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, "X-Request-Timeout")


def test_an_item_past_its_deadline_is_given_up(slow_server: ServerProcess) -> None:
    reply = send(slow_server, {"items": [{"text": "#slow one"}]}, **{"x-request-timeout": "0.1"})
    assert reply.status_code == 504
    assert reply.json()["error"]["code"] == "deadline_exceeded"


def test_items_whose_client_is_gone_are_dropped(slow_server: ServerProcess) -> None:
    before = embedded(slow_server)
    body = httpx.Request("POST", slow_server.url, json=texts(500, "gone")).read()
    head = f"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
    with socket.create_connection(slow_server.address) as connection:
        connection.sendall(f"{head}content-type: application/json\r\n\r\n".encode() + body)
        time.sleep(0.5)
    wait_until_idle(slow_server)
    assert embedded(slow_server) - before < 500
    assert 'status="499"' in slow_server.client.get("/metrics").text


def test_a_dead_encoder_thread_is_replaced(slow_server: ServerProcess) -> None:
    reply = send(slow_server, {"items": [{"text": "#die"}], "store": False})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "encoder_failed")
    assert send(slow_server, texts(1, "after")).status_code == 200
    assert slow_server.client.get("/readyz").status_code == 200
    assert 'isthmus_encoder_restarts{encoder="clip"} 1.0' in slow_server.client.get("/metrics").text


def test_stopping_lets_what_runs_end(slow_server: ServerProcess) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(send, slow_server, texts(200, "last"))
        time.sleep(0.7)
        assert slow_server.stop(signal.SIGTERM) == 0
        assert running.result().status_code == 200


def test_a_bundle_that_is_not_there_stops_the_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert serve(Settings(bundle=str(tmp_path / "nowhere"), port=0, data_dir=tmp_path / "data")) == 1
    assert "no bundle" in caplog.text


def test_many_clients_at_once_get_their_own_vectors(server: ServerProcess) -> None:
    words = [f"text number {i % 50}" for i in range(200)]

    def embed(text: str) -> list[float]:
        body = {"items": [{"text": text}], "store": False, "return_vectors": True}
        return server.client.post("/embed", json=body).json()["items"][0]["vector"]

    with ThreadPoolExecutor(32) as pool:
        vectors = list(pool.map(embed, words))
    assert vectors[:50] == vectors[50:100] == vectors[150:]
    assert len({tuple(vector) for vector in vectors}) == 50
