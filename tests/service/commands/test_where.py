"""A command goes to the service or the data directory that is meant; one that only reads makes neither."""

import sys
from pathlib import Path

import pytest
from server_process import ServerProcess

from service.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "note.txt").write_text("a note")
    return tmp_path / "folder"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_bundle: Path):
    """`isthmus` with these arguments; gives its exit status and all it said."""
    monkeypatch.setenv("ISTHMUS_BUNDLE", str(tiny_bundle))

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["isthmus", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return run


def count(server: ServerProcess, collection: str) -> int | None:
    reply = server.client.get(f"/collections/{collection}/count")
    return reply.json()["count"] if reply.is_success else None


def test_ingest_goes_to_the_service_that_the_environment_names(
    run, folder: Path, server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISTHMUS_URL", server.url)
    monkeypatch.setenv("ISTHMUS_DATA_DIR", str(tmp_path / "data"))
    assert run("ingest", folder, "--collection", "by-environment")[0] == 0
    assert count(server, "by-environment") == 1
    assert not (tmp_path / "data").exists() and not (tmp_path / "isthmus-data").exists()
    assert server.client.delete("/collections/by-environment").is_success


@pytest.mark.parametrize("option", ["--data-dir", "--bundle"])
def test_what_only_this_process_can_use_keeps_an_ingest_here(
    run,
    folder: Path,
    server: ServerProcess,
    tmp_path: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
) -> None:
    monkeypatch.setenv("ISTHMUS_DATA_DIR", str(tmp_path / "data"))
    value = tmp_path / "data" if option == "--data-dir" else tiny_bundle
    options = ["ingest", folder, option, value, "--collection", "here"]
    status, said = run(*options, "--url", server.url)
    assert status == 1 and "--url" in said and option in said
    monkeypatch.setenv("ISTHMUS_URL", server.url)
    status, said = run(*options)
    assert (status, "1 stored" in said) == (0, True), said
    assert count(server, "here") is None
    assert (tmp_path / "data" / "index").is_dir()


def test_backup_goes_to_the_service_that_the_environment_names(
    run, server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_URL", server.url)
    monkeypatch.setenv("ISTHMUS_DATA_DIR", str(tmp_path / "data"))
    status, said = run("backup", tmp_path / "backup")
    assert (status, "collections" in said) == (0, True), said
    status, said = run("backup", tmp_path / "another", "--data-dir", tmp_path / "data")
    assert status == 1 and f"no data directory {tmp_path / 'data'}" in said
    assert not (tmp_path / "data").exists()


READING = {
    "backup": ["backup", "OUT"],
    "export": ["export", "OUT.parquet"],
    "connectors list": ["connectors", "list"],
    "connectors rollback": ["connectors", "rollback"],
}


@pytest.mark.parametrize("command", READING)
def test_a_data_directory_that_is_not_there_is_named_and_not_made(run, tmp_path: Path, command: str) -> None:
    arguments = [each.replace("OUT", str(tmp_path / "out")) for each in READING[command]]
    status, said = run(*arguments, "--data-dir", tmp_path / "data")
    assert status == 1 and str(tmp_path / "data") in said
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("index", ["edge", "local"])
@pytest.mark.parametrize("command", READING)
def test_a_folder_that_is_no_data_directory_stays_as_it_is(
    run, tmp_path: Path, command: str, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_INDEX", index)
    (tmp_path / "data").mkdir()
    arguments = [each.replace("OUT", str(tmp_path / "out")) for each in READING[command]]
    status, said = run(*arguments, "--data-dir", tmp_path / "data")
    if command in ("backup", "export"):
        assert status == 1 and f"no index in {tmp_path / 'data'}" in said
    assert [*tmp_path.rglob("*")] == [tmp_path / "data"]


def test_evaluate_names_the_data_that_are_not_there(run, tmp_path: Path, tiny_bundle: Path) -> None:
    status, said = run("evaluate", "--bundle", tiny_bundle, "--data", tmp_path / "none")
    assert status == 1 and str(tmp_path / "none") in said
    assert [*tmp_path.iterdir()] == []
