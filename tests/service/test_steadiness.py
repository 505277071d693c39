"""The service keeps what it was given, says when it cannot take more, and stops in order."""

import base64
import json
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from media_files import png, wav
from server_process import ServerProcess, StartServer
from tiny_encoders import GATES, Gate
from vector_tolerance import assert_same_vectors
from waiting import PATIENCE, until

from service.http.server import serve
from service.settings import Settings

QUEUE_ITEMS = 600
ROW_SECONDS = 0.01
MAX_BATCH = Settings.model_fields["max_batch"].default


def texts(count: int, tag: str) -> dict[str, object]:
    return {"items": [{"text": f"{tag} {i}"} for i in range(count)], "store": False}


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gates")


@pytest.fixture(scope="module")
def gated_server(
    tiny_bundle: Path, gates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server whose encoders take 10 ms an item, and wait where a test shuts their gate."""
    settings = {
        "ISTHMUS_QUEUE_ITEMS": QUEUE_ITEMS,
        "ISTHMUS_REQUEST_TIMEOUT": 10 * PATIENCE,
        "ISTHMUS_DRAIN_SECONDS": PATIENCE,
        "ISTHMUS_DEVICE": "cpu",  # one batch at a time
        "TINY_ROW_SECONDS": ROW_SECONDS,
        GATES: gates,
    }
    server = ServerProcess(tiny_bundle, tmp_path_factory.mktemp("gated") / "data", **settings)
    server.wait_ready()
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def gate(gates: Path) -> Iterator[Gate]:
    """What texts and images wait for, once it is shut."""
    yield Gate(gates / "clip")
    Gate(gates / "clip").open()


def send(server: ServerProcess, body: dict[str, object], **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}/embed", json=body, headers=headers, timeout=PATIENCE)


def metric(server: ServerProcess, name: str) -> float:
    """One metric's value, 0 while it has none."""
    lines = server.client.get("/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def admitted(server: ServerProcess, encoder: str = "clip") -> float:
    return metric(server, f'isthmus_admitted_items{{encoder="{encoder}"}}')


def went_through(server: ServerProcess) -> float:
    """Texts that the encoder was given, whoever waited for them."""
    return metric(server, 'isthmus_batch_items_sum{encoder="clip",modality="text"}')


def test_what_was_acknowledged_survives_kill_9(tiny_bundle: Path, tmp_path: Path) -> None:
    server = ServerProcess(tiny_bundle, tmp_path / "data")
    server.wait_ready()
    kept = png("purple")
    assert server.client.post("/embed", files={"files": ("p.png", kept)}, data={"ids": '["p"]'}).is_success
    before = server.client.get("/points/p", params={"with_vectors": True}).json()
    server.stop(signal.SIGKILL)
    server.start()
    server.wait_ready()
    after = server.client.get("/points/p", params={"with_vectors": True}).json()
    stored = before.pop("vector")
    assert_same_vectors(after.pop("vector"), stored)
    assert after == before
    assert server.client.get("/media/p").content == kept
    form = {"return_vectors": "true", "store": "false"}
    again = server.client.post("/embed", files={"files": ("p.png", kept)}, data=form).json()
    vector = again["items"][0]["vector"]
    assert_same_vectors(vector, stored)
    assert server.stop(signal.SIGTERM) == 0


def test_past_its_bound_the_queue_turns_requests_away(gated_server: ServerProcess, gate: Gate) -> None:
    with ThreadPoolExecutor(6) as pool:
        with gate.closed():
            served = []
            for count, waiting in ((299, 299), (301, QUEUE_ITEMS), (25, 625), (25, 650), (25, 675)):
                # An eighth of the places is kept for small requests.
                served.append(pool.submit(send, gated_server, texts(count, f"many {waiting}")))
                until(lambda waiting=waiting: admitted(gated_server) == waiting)
            refused = send(gated_server, texts(300, "too many"))
            one_more = send(gated_server, texts(1, "one too many"), **{"x-request-id": "mine"})
            sound = base64.b64encode(wav()).decode()
            heard = pool.submit(send, gated_server, {"items": [{"audio": sound}], "store": False})
            until(lambda: admitted(gated_server, "clap") == 1)
        assert [each.result().status_code for each in served] == [200] * 5
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    assert (one_more.status_code, one_more.json()["error"]["code"]) == (429, "overloaded")
    assert one_more.headers["x-request-id"] == one_more.json()["error"]["request_id"] == "mine"
    assert heard.result().status_code == 200, "another encoder's queue is not full"
    assert metric(gated_server, 'isthmus_rejected_total{code="overloaded"}') == 2


def test_a_small_request_passes_a_huge_one(gated_server: ServerProcess, gate: Gate) -> None:
    huge = texts(400, "huge")
    huge["items"].append({"text": "#hold"})
    with ThreadPoolExecutor(2) as pool, Gate(gate.file.with_name("hold")).closed():
        with gate.closed():
            first = pool.submit(send, gated_server, huge)
            until(lambda: admitted(gated_server) == 401)
            second = pool.submit(send, gated_server, texts(1, "small"))
            until(lambda: admitted(gated_server) == 402)
        assert second.result().status_code == 200
        assert not first.done()
    assert first.result().status_code == 200


def test_a_deadline_is_kept_and_its_items_leave_the_queue(gated_server: ServerProcess, gate: Gate) -> None:
    before = went_through(gated_server)
    with gate.closed():
        late = send(gated_server, texts(500, "late"), **{"x-request-timeout": "0.5"})
        assert late.status_code == 504
        assert late.json()["error"]["code"] == "deadline_exceeded"
        until(lambda: not admitted(gated_server))
    assert send(gated_server, texts(1, "next")).status_code == 200
    assert went_through(gated_server) - before <= MAX_BATCH + 1
    wrong = send(gated_server, texts(1, "never"), **{"x-request-timeout": "soon"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, "X-Request-Timeout")


def test_an_item_past_its_deadline_is_given_up(gated_server: ServerProcess, gate: Gate) -> None:
    with gate.closed():
        reply = send(gated_server, {"items": [{"text": "one"}]}, **{"x-request-timeout": "0.1"})
    assert reply.status_code == 504
    assert reply.json()["error"]["code"] == "deadline_exceeded"


def test_items_whose_client_is_gone_are_dropped(gated_server: ServerProcess, gate: Gate) -> None:
    before = went_through(gated_server)
    body = httpx.Request("POST", gated_server.url, json=texts(500, "gone")).read()
    head = f"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
    with gate.closed():
        with socket.create_connection(gated_server.address) as connection:
            connection.sendall(f"{head}content-type: application/json\r\n\r\n".encode() + body)
            until(lambda: admitted(gated_server) == 500)
        until(lambda: not admitted(gated_server))
    assert send(gated_server, texts(1, "after")).status_code == 200
    assert went_through(gated_server) - before <= MAX_BATCH + 1
    until(lambda: 'status="499"' in gated_server.client.get("/metrics").text)


def test_a_dead_encoder_thread_is_replaced(gated_server: ServerProcess) -> None:
    reply = send(gated_server, {"items": [{"text": "#die"}], "store": False})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "encoder_failed")
    assert send(gated_server, texts(1, "after")).status_code == 200
    assert gated_server.client.get("/readyz").status_code == 200
    assert 'isthmus_encoder_restarts{encoder="clip"} 1.0' in gated_server.client.get("/metrics").text


def test_stopping_lets_what_runs_end(gated_server: ServerProcess, gate: Gate) -> None:
    with ThreadPoolExecutor(2) as pool:
        with gate.closed():
            running = pool.submit(send, gated_server, texts(200, "last"))
            until(lambda: admitted(gated_server) == 200)
            stopping = pool.submit(gated_server.stop, signal.SIGTERM)
            until(lambda: not answers(gated_server))
        assert stopping.result() == 0
        assert running.result().status_code == 200


def answers(server: ServerProcess) -> bool:
    """Whether a new connection gets to a server."""
    try:
        socket.create_connection(server.address).close()
    except ConnectionRefusedError:
        return False
    return True


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
    for others in (vectors[50:100], vectors[100:150], vectors[150:]):
        assert_same_vectors(others, vectors[:50])
    assert len({tuple(vector) for vector in vectors[:50]}) == 50


def embed_request(caption: str, size: int) -> bytes:
    """A request to embed one text, with a body of so many bytes."""
    body = json.dumps({"store": False, "items": [{"text": caption}]}).encode()
    body += b" " * (size - len(body))
    fields = f"host: x\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n"
    return f"POST /embed HTTP/1.1\r\n{fields}\r\n".encode() + body


def test_bodies_of_all_requests_together_are_bounded(start_server: StartServer) -> None:
    """What one client has half sent counts against what others send; it and they are served in the end."""
    server = start_server(ISTHMUS_BODY_BYTES=1_000_000)
    large = embed_request("large", 900_000)

    def held() -> float:
        found = re.search(r"^isthmus_body_bytes (\S+)", server.client.get("/metrics").text, re.MULTILINE)
        assert found
        return float(found[1])

    def ask(size: int) -> httpx.Response:
        body = embed_request("other", size).partition(b"\r\n\r\n")[2]
        return server.client.post("/embed", content=body, headers={"content-type": "application/json"})

    with socket.create_connection(server.address) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(large[:800_000])
        until(lambda: held() > 790_000)
        refused = ask(300_000)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert "ISTHMUS_BODY_BYTES" in refused.json()["error"]["message"]
        assert ask(1_000).status_code == 200
        connection.sendall(large[800_000:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    until(lambda: held() == 0)
    assert ask(300_000).status_code == 200
    assert ask(2_000_000).status_code == 200, "a body alone is bounded by max_body_bytes only"
    assert server.stop() == 0
