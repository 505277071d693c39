"""Whatever is wrong with a request, the answer names the item and the reason, and the service goes on."""

import io
import json
import socket
import struct
import zlib
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import soundfile
from media_files import cloud, jpeg, ply, png, wav
from server_process import ServerProcess
from waiting import PATIENCE, until

MIB = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def logged_before(server: ServerProcess) -> int:
    """How long the log was before the first test here: other tests make encoders fail on purpose."""
    return len(server.log())


def bomb(side: int = 50_000) -> bytes:
    """A PNG of a few hundred bytes that says it is 50,000 x 50,000."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def hours_of_silence(hours: float = 3) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(int(hours * 3600 * 8000), dtype=np.int16), 8000, format="FLAC")
    return buffer.getvalue()


def not_numbers() -> bytes:
    buffer = io.BytesIO()
    points = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    points[7] = np.nan
    np.save(buffer, points)
    return buffer.getvalue()


FILES: dict[str, tuple[bytes, set[int]]] = {
    "empty.png": (b"", {422}),
    "text.png": (b"hello, I am a text", {422}),
    "cut.jpg": (jpeg()[:600], {422}),
    "cut.ogg": (wav(seconds=2, kind="OGG")[:3000], {422}),
    "cut.ply": (ply()[:900], {422}),
    "nothing.wav": (wav(seconds=0), {422}),
    "three-hours.flac": (hours_of_silence(), {413}),
    "one-point.npy": (cloud(points=1), {422}),
    "nan.npy": (not_numbers(), {422}),
    "unknown.bin": (b"\x00\x01\x02\x03" * 64, {415, 422}),
    "bomb.png": (bomb(), {413}),
    "script.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {415, 422}),
}


def check_error(reply: httpx.Response, *statuses: int) -> dict[str, object]:
    assert reply.status_code in statuses, reply.text
    error = reply.json()["error"]
    assert {"message", "type", "param", "code", "request_id"} <= set(error)
    assert error["request_id"] == reply.headers["x-request-id"]
    assert error["type"] == ("invalid_request_error" if reply.status_code < 500 else "server_error")
    return error


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_refused_by_name_and_place(api: httpx.Client, name: str) -> None:
    data, statuses = FILES[name]
    error = check_error(api.post("/embed", files={"files": (name, data)}), *statuses)
    assert name in str(error["message"])
    assert error["param"] == "items[0]"
    assert error["items"][0]["index"] == 0


def test_bad_files_among_good_ones_have_their_own_errors(api: httpx.Client) -> None:
    files = [("files", ("good.png", png()))] + [("files", (n, data)) for n, (data, _) in FILES.items()]
    items = api.post("/embed", files=files, data={"store": "false"}).json()["items"]
    assert "error" not in items[0]
    for item, name in zip(items[1:], FILES, strict=True):
        assert name in item["error"]["message"]


def test_an_upload_of_200_mb_is_refused_without_being_kept(server: ServerProcess) -> None:
    before = server.memory()

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="big.bin"\r\n\r\n'
        for _ in range(200):
            yield bytes(MIB)
        yield b"\r\n--x--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x"}
    error = check_error(server.client.post("/embed", content=body(), headers=headers), 413)
    assert error["code"] == "request_too_large"
    assert server.memory() - before < 64 * MIB


def test_a_declared_length_past_the_limit_is_refused_at_once(server: ServerProcess) -> None:
    head = f"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {200 * MIB}\r\n"
    with socket.create_connection(server.address) as connection:
        connection.sendall(f"{head}content-type: application/json\r\n\r\n{{".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("{", 400, "JSON"),
        ("", 400, "JSON"),
        ("[]", 422, ""),
        ('{"items": []}', 422, "at least one"),
        ('{"items": [{}]}', 422, "exactly one"),
        ('{"items": [{"text": "a", "image": "b"}]}', 422, "exactly one"),
        ('{"items": [{"text": 7}]}', 422, "items[0].text"),
        ('{"items": [{"text": ""}]}', 422, "items[0]"),
        ('{"items": [{"text": "\\ud800"}]}', 400, ""),
        ('{"items": [{"smell": "roses"}]}', 422, "smell"),
        ('{"items": [{"text": "a"}], "collection": "../etc"}', 422, "collection"),
        ('{"items": [{"text": "a", "id": "x"}, {"text": "b", "id": "x"}]}', 422, "same id"),
        ('{"items": [{"text": "a", "id": ""}]}', 422, "id"),
        ('{"items": [{"text": "a", "metadata": []}]}', 422, "metadata"),
        ('{"items": [{"text": "a", "metadata": {"x": 1e999}}]}', 422, "finite"),
        (json.dumps({"items": [{"text": "x" * 30_000}]}), 413, "items[0]"),
        (json.dumps({"items": [{"text": "a"}] * 3000}), 422, "3000"),
    ],
)
def test_a_wrong_body_is_told_what_is_wrong(api: httpx.Client, body: str, status: int, says: str) -> None:
    reply = api.post("/embed", content=body, headers={"content-type": "application/json"})
    assert says in str(check_error(reply, status)["message"])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "at least one"),
        ({"texts": "a", "colour": "red"}, "colour"),
        ({"texts": "a", "metadata": "{"}, "metadata"),
        ({"texts": "a", "metadata": "[{}, {}]"}, "2 entries for 1"),
        ({"texts": "a", "ids": '["x", "y"]'}, "2 entries for 1"),
        ({"texts": "a", "store": "perhaps"}, "store"),
    ],
)
def test_a_wrong_form_is_told_what_is_wrong(api: httpx.Client, data: dict[str, str], says: str) -> None:
    files = {"nothing": (None, b"")} if not data else {k: (None, v) for k, v in data.items()}
    files.pop("nothing", None)
    if not files:
        body = b"--x--\r\n"
        reply = api.post("/embed", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    else:
        reply = api.post("/embed", files=files)
    assert says in str(check_error(reply, 400, 422)["message"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/points/nobody", 404),
        ("DELETE", "/points/nobody", 404),
        ("GET", "/media/nobody", 404),
        ("GET", "/collections/none", 404),
        ("DELETE", "/collections/none", 404),
        ("PUT", "/embed", 405),
        ("GET", "/points?limit=-1", 422),
        ("GET", "/points?limit=x", 422),
        ("GET", "/points?limit=1000000", 422),
        ("GET", "/points?modality=smell", 422),
        ("GET", "/points?cursor=nonsense", 400),
        ("GET", "/points?filter=nonsense", 400),
        ("GET", "/points?collection=..", 422),
    ],
)
def test_a_wrong_path_or_parameter_has_the_error_shape(
    api: httpx.Client, method: str, path: str, status: int
) -> None:
    check_error(api.request(method, path), status)


def test_other_content_types_are_refused(api: httpx.Client) -> None:
    reply = api.post("/embed", content=b"<a/>", headers={"content-type": "text/xml"})
    assert "text/xml" in str(check_error(reply, 400)["message"])


def test_a_form_that_breaks_off_is_refused(api: httpx.Client) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    check_error(api.post("/embed", content=b"--x\r\nnonsense", headers=headers), 400, 422)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x"])
def test_a_client_that_leaves_in_the_midst_of_its_body_is_no_failure_of_the_service(
    server: ServerProcess, content_type: str
) -> None:
    def counted(status: int) -> float:
        lines = server.client.get("/metrics").text.splitlines()
        told = [line for line in lines if line.startswith("isthmus_request_seconds_count")]
        return sum(float(line.split()[-1]) for line in told if f'status="{status}"' in line)

    gone, failed = counted(499), counted(500)
    lines = ["POST /embed HTTP/1.1", "host: x", "content-length: 1000", f"content-type: {content_type}"]
    head = "\r\n".join([*lines, "expect: 100-continue", "", ""])
    with socket.create_connection(server.address, timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + b"--x\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 "), "the body is being read"
    until(lambda: counted(499) == gone + 1)
    assert counted(500) == failed


def test_the_service_goes_on(server: ServerProcess, logged_before: int) -> None:
    assert server.client.get("/readyz").status_code == 200
    assert "Traceback" not in server.log()[logged_before:]
