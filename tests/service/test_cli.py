"""Every command is there, says what it does, and ends with a status and a sentence when it cannot."""

import sys
from pathlib import Path

import pytest

from service.cli import COMMANDS, main
from training.recipe import load_recipe


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """`isthmus` with these arguments; gives its exit status."""
    monkeypatch.setattr(sys, "argv", ["isthmus", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_help_names_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    for name in (*COMMANDS, "serve", "config", "version"):
        assert f" {name} " in shown


@pytest.mark.parametrize(
    ("command", "takes"),
    [
        ("serve", "--data-dir"),
        ("demo", "--data-dir"),
        ("config", "settings, or recipe"),
        ("train", "--output"),
        ("features", "--modality"),
        ("evaluate", "--connector"),
        ("connectors import", "--output"),
        ("connectors publish", "--onto"),
        ("connectors activate", "--data-dir"),
        ("connectors rollback", "--url"),
        ("connectors list", "--url"),
        ("bundle build", "--clap-model"),
        ("bundle verify", "bundle's name or folder"),
        ("bundle list", "ISTHMUS_BUNDLES"),
        ("ingest", "--on-server"),
        ("backup", "new directory"),
        ("restore", "A backup"),
        ("export", "--collection"),
        ("import", "--collection"),
    ],
)
def test_every_command_says_what_it_takes(
    command: str, takes: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, *command.split(), "--help") == 0
    shown = capsys.readouterr().out
    assert f"isthmus {command}" in shown
    assert takes in shown


def test_every_command_elsewhere_is_tried_above() -> None:
    [tried] = [
        mark for mark in test_every_command_says_what_it_takes.pytestmark if mark.name == "parametrize"
    ]
    assert set(COMMANDS) <= {command.split()[0] for command, _ in tried.args[1]}


def test_config_prints_every_setting_and_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("ISTHMUS_MAX_ITEMS", "17")
    monkeypatch.setenv("ISTHMUS_QDRANT_API_KEY", "very-secret")
    assert run(monkeypatch, "config") == 0
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()}
    assert shown["ISTHMUS_MAX_ITEMS"].split()[1] == "17"
    assert shown["ISTHMUS_PRECISION"].split()[1] == "highest"
    assert "***" in shown["ISTHMUS_QDRANT_API_KEY"]


def test_config_recipe_prints_a_recipe_that_reads_as_the_default_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "config", "recipe") == 0
    printed = tmp_path / "printed.toml"
    printed.write_text(capsys.readouterr().out)
    assert load_recipe(printed) == load_recipe("default")


def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ISTHMUS_PORT", "many")
    assert run(monkeypatch, "config") == 2
    assert "ISTHMUS_PORT" in capsys.readouterr().err
    monkeypatch.delenv("ISTHMUS_PORT")
    monkeypatch.setenv("ISTHMUS_LOG_LEVEL", "verbose")
    assert run(monkeypatch, "config") == 2
    assert "ISTHMUS_LOG_LEVEL" in capsys.readouterr().err
    monkeypatch.setenv("ISTHMUS_LOG_LEVEL", "Warning")
    assert run(monkeypatch, "config") == 0


def test_what_cannot_be_done_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "bundle", "verify", "no-such-bundle") == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "no-such-bundle" in said
    assert run(monkeypatch, "config", "nonsense") == 2


def test_a_service_that_does_not_answer_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a dog")
    nobody = "http://127.0.0.1:9"
    for command in (("ingest", str(tmp_path)), ("backup", str(tmp_path / "backup")), ("connectors", "list")):
        assert run(monkeypatch, *command, "--url", nobody) == 1
        assert f"error: no service answers at {nobody}" in capsys.readouterr().err
