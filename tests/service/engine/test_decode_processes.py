"""Files whose decoder is Python are decoded in processes of their own, and as they would be in this one."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from waiting import async_until, until

from connectors.bundle import load_bundle
from connectors.errors import InvalidMedia, MediaTooLarge
from connectors.media import Limits, decode
from service.engine.decode_processes import DecodeProcesses
from service.engine.embedding import Embedding
from service.engine.engine import Engine
from service.engine.media_input import MediaInput
from service.errors import Unavailable
from service.metrics import Metrics
from service.settings import Settings

LIMITS = Limits()


def obj(vertices: int) -> bytes:
    """A cloud of vertices, and one triangle after the other over them."""
    points = np.random.default_rng(0).normal(size=(vertices, 3))
    rows = ["v {:.6f} {:.6f} {:.6f}".format(*point) for point in points]
    return "\n".join([*rows, *(f"f {i} {i + 1} {i + 2}" for i in range(1, vertices - 2))]).encode()


@pytest.fixture
def processes() -> Iterator[DecodeProcesses]:
    running = DecodeProcesses()
    yield running
    running.close()
    assert running.running == 0


def reach_in_for_the_children(
    processes: DecodeProcesses, *, at_work: bool = False
) -> list[subprocess.Popen[bytes]]:
    """The children, or those at a file: nobody but a test kills them, or looks whether they have ended."""
    idle = set(processes._idle) if at_work else set()
    return [child.process for child in processes._all - idle]


@contextmanager
def killing(processes: DecodeProcesses, times: int) -> Iterator[None]:
    """Kills as many children as told, each while it is at something; fails if there were not so many."""
    done, killed = threading.Event(), set[int]()

    def kill() -> bool:
        for child in reach_in_for_the_children(processes, at_work=True):
            killed.add(child.pid)
            child.kill()
        return len(killed) >= times or done.is_set()

    thread = threading.Thread(target=until, args=(kill,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(60)
    assert len(killed) == times


def test_the_points_and_the_errors_are_those_of_this_process(processes: DecodeProcesses) -> None:
    mesh, rows = obj(3_000), b"\n".join(b"%d %d %d" % (i, i * i, -i) for i in range(2_000))
    for data, name in ((mesh, "shape.obj"), (rows, "scan.xyz")):
        expected = decode("point_cloud", data, name=name)
        np.testing.assert_array_equal(processes.decode("point_cloud", data, name, LIMITS), expected)
    for data, name, limits in (
        (mesh + b"\nf 1 2 9999999", "cut.obj", LIMITS),
        (rows, "a.xyz", Limits(max_points=9)),
    ):
        with pytest.raises((InvalidMedia, MediaTooLarge)) as here:
            decode("point_cloud", data, name=name, limits=limits)
        with pytest.raises(type(here.value)) as there:
            processes.decode("point_cloud", data, name, limits)
        assert there.value.message == here.value.message
    assert processes.running == 1


def test_a_child_that_is_killed_is_replaced_and_the_file_decoded(processes: DecodeProcesses) -> None:
    mesh = obj(3_000)
    with killing(processes, times=1):
        points = processes.decode("point_cloud", mesh, "shape.obj", LIMITS)
    np.testing.assert_array_equal(points, decode("point_cloud", mesh, name="shape.obj"))


def test_a_file_that_children_die_of_is_refused_by_its_name(processes: DecodeProcesses) -> None:
    died = r"shape\.obj cannot be decoded: its decoder ended with status -9"
    with killing(processes, times=2), pytest.raises(InvalidMedia, match=died):
        processes.decode("point_cloud", obj(3_000), "shape.obj", LIMITS)


def test_children_that_were_killed_while_idle_cost_no_file_an_attempt(processes: DecodeProcesses) -> None:
    mesh = obj(3_000)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda name: processes.decode("point_cloud", mesh, name, LIMITS), "abc"))
    for child in reach_in_for_the_children(processes):
        child.kill()
        child.wait()
    processes.decode("point_cloud", mesh, "shape.obj", LIMITS)


def test_a_file_that_takes_too_long_is_refused(
    processes: DecodeProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.decode_processes.DECODE_SECONDS", 1)
    with pytest.raises(InvalidMedia, match=r"shape\.obj takes more than 1 s"):
        processes.decode("point_cloud", b"v 1 2 3\n" * 2_000_000, "shape.obj", LIMITS)
    assert processes.running == 0
    assert len(processes.decode("point_cloud", obj(100), "shape.obj", LIMITS))


def test_a_fault_of_a_decoder_is_no_fault_of_the_file(
    processes: DecodeProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "import connectors.media as media\nmedia.decode = lambda *_, **__: media.none\n"
    (tmp_path / "sitecustomize.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="AttributeError"):
        processes.decode("point_cloud", obj(100), "shape.obj", LIMITS)


def test_every_kind_of_media_crosses_as_it_is_decoded(processes: DecodeProcesses) -> None:
    file = BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(file, "PNG")
    image = processes.decode("image", file.getvalue(), "a.png", LIMITS)
    assert isinstance(image, Image.Image) and image.mode == "RGB"
    assert image.tobytes() == bytes(range(48))
    assert processes.decode("text", "grün".encode(), "a.txt", LIMITS) == "grün"
    file = BytesIO()
    soundfile.write(file, np.sin(np.arange(9_600) / 20), 48_000, format="WAV")
    sound = processes.decode("audio", file.getvalue(), "a.wav", LIMITS)
    np.testing.assert_array_equal(sound, decode("audio", file.getvalue(), name="a.wav"))


def test_idle_children_are_ended(processes: DecodeProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    processes.decode("point_cloud", obj(100), "shape.obj", LIMITS)
    [child] = reach_in_for_the_children(processes)
    processes.end_idle()
    assert child.poll() is None
    monkeypatch.setattr("service.engine.decode_processes.IDLE_SECONDS", 0.0)
    processes.end_idle()
    assert child.poll() is not None
    assert processes.running == 0


def test_closing_ends_a_child_at_work_and_there_are_no_new_ones(processes: DecodeProcesses) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            processes.decode("point_cloud", obj(60_000), "shape.obj", LIMITS)
        except Unavailable as error:
            failed.append(error)

    working = threading.Thread(target=work)
    working.start()
    until(lambda: processes.running, every=0.001)
    processes.close()
    working.join(60)
    assert len(failed) == 1


def test_a_file_that_is_decoded_out_of_process_keeps_no_decoder_from_the_others(tiny_bundle: Path) -> None:
    mesh, cloud = obj(150_000), b"\n".join(b"%d %d 0" % (i, i * i % 97) for i in range(100))

    async def run() -> None:
        settings = Settings(decode_threads=1)
        engine = await Engine.start(load_bundle(tiny_bundle), settings, Metrics())
        try:
            slow = asyncio.create_task(engine.embed([MediaInput(mesh, len(mesh), "shape.obj")], 60.0))
            await async_until(lambda: engine.preprocessor.processes.running, 60)
            (quick,) = await engine.embed([MediaInput(cloud, len(cloud), "a.xyz")], 60.0)
            assert isinstance(quick, Embedding)
            assert not slow.done()
            assert isinstance((await slow)[0], Embedding)
        finally:
            await engine.close()

    asyncio.run(run())


def test_the_engine_decodes_large_texts_out_of_process_and_the_rest_here(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    mesh, array = obj(3_000), tmp_path / "points.npy"
    np.save(array, np.random.default_rng(0).normal(size=(30_000, 3)).astype(np.float32))

    async def run() -> list[object]:
        engine = await Engine.start(load_bundle(tiny_bundle), Settings(), Metrics())
        try:
            here = await engine.embed([MediaInput(array.read_bytes(), array.stat().st_size, "a.npy")], 60.0)
            none = engine.preprocessor.processes.running
            in_child = await engine.embed([MediaInput(mesh, len(mesh), "shape.obj")], 60.0)
            assert (none, engine.preprocessor.processes.running) == (0, 1)
        finally:
            await engine.close()
        assert not engine.preprocessor.processes.running
        return [*here, *in_child]

    found = asyncio.run(run())
    assert all(isinstance(each, Embedding) for each in found), found
    expected = load_bundle(tiny_bundle).embed("point_cloud", [decode("point_cloud", mesh, name="shape.obj")])
    np.testing.assert_allclose(found[1].vectors.unified, expected[0], atol=1e-5)


def test_a_child_does_not_load_torch() -> None:
    told = "import sys, service.engine.decode_worker; print('torch' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", told], stdout=subprocess.PIPE, text=True, check=True)
    assert child.stdout == "False\n"
