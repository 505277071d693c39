"""The tests look at modules from outside and wait for what happens: what keeps to neither is named here."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
REACHES_INSIDE = {
    "service/backup/test_directory.py:reach_into_the_index_for_a_process_to_overtake": (
        "a collection has to be deleted between two answers of its shard's process"
    ),
    "benchmarks/test_findings.py:": "an underscore marks the benchmarks' modules that are no programs",
    "benchmarks/test_gpu.py:": "the same, and `os._exit`, which is how a hung step ends",
    "service/engine/test_decode_processes.py:reach_in_for_the_children": (
        "children have to be killed at work and idle, and be seen to have ended"
    ),
    "service/index/edge/test_edge_backend.py:reach_into_the_index_for_the_shard": (
        "what its process is told and whether it is due are no caller's affair"
    ),
    "service/index/edge/test_edge_backend.py:reach_into_the_shard_for_a_process_to_overtake": (
        "a process has to be overtaken, or killed, between two answers"
    ),
    "service/index/edge/test_edge_backend.py:reach_into_the_shard_to_see_whether_it_notes": (
        "what is written once a copy has begun has to be told from what is in it"
    ),
    "service/index/edge/test_edge_backend.py:hand_over_reaching_into_the_backend": (
        "a copy has to take over at a moment that the test chooses"
    ),
    "service/index/edge/test_edge_backend.py:reach_into_the_optimizer_to_keep_it_busy": (
        "another shard has to be optimised for as long as the test asks"
    ),
}
"""By file and function, or file alone: why it uses what is private to a module that is not its own."""
SLEEPS = {
    "waiting.py:until": "the loop around a condition",
    "waiting.py:async_until": "the loop around a condition",
    "waiting.py:at_a_random_moment": "a test that kills does so at any moment",
    "service/tiny_encoders.py:compute_slowly": "an encoder that takes as long as a large one",
    "service/tiny_encoders.py:pass_gate": "a gate that another process opens",
    "service/engine/test_worker.py:the_way_to_a_client_and_back": "a network that takes time",
    "e2e/test_page.py:let_it_record": "a recording is as long as it takes",
}
"""By file and function: why it sleeps."""
BY_NAME = {"getattr", "setattr", "hasattr", "delattr", "patch", "object", "attrgetter"}
"""Functions that take the name of what they look at or replace."""
SLEEPING = {"sleep", "wait_for_timeout"}


@dataclass(frozen=True)
class Found:
    """Something in a test, as it is written, and the function it is in."""

    place: str
    line: int
    text: str

    def is_in(self, allowed: dict[str, str]) -> bool:
        return self.place in allowed or f"{self.place.partition(':')[0]}:" in allowed


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") and part != "_" for part in name.split("."))


def own_names(tree: ast.Module) -> set[str]:
    """The private names that a file gives to what it defines."""
    names = set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Attribute(value=ast.Name("self" | "cls"), attr=name, ctx=ast.Store()):
                names.add(name)
            case ast.Name(name, ast.Store()):
                names.add(name)
    return {name for name in names if is_private(name)}


def within_functions(node: ast.AST, function: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Every node, and the innermost function of the file's own that it is in."""
    for child in ast.iter_child_nodes(node):
        inner = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield child, inner
        yield from within_functions(child, inner)


def private_names(node: ast.AST) -> list[str]:
    """The private names that a piece of code looks up in what it may not have defined."""
    match node:
        case ast.Attribute(attr=name):
            names = [name]
        case ast.ImportFrom(module=module, names=imported):
            names = [module or "", *(each.name for each in imported)]
        case ast.Import(names=imported):
            names = [each.name for each in imported]
        case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=given) if called in BY_NAME:
            names = [
                each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)
            ]
        case _:
            names = []
    return [name for name in names if is_private(name)]


def is_a_sleep(node: ast.AST, lines: list[str]) -> bool:
    """Whether something sleeps; a step of the event loop, a sleep of 0 s, needs a word of why beside it."""
    match node:
        case ast.Call(func=ast.Name(called) | ast.Attribute(attr=called), args=given) if called in SLEEPING:
            is_a_step = ast.unparse(node.func) == "asyncio.sleep" and ast.unparse(given[0]) == "0"
            return not (is_a_step and "  # " in lines[node.lineno - 1])
        case ast.ImportFrom(names=imported):
            return any(each.name in SLEEPING for each in imported)
    return False


def look(source: str, file: str) -> tuple[list[Found], list[Found]]:
    """What a file uses that is private to others, and where it sleeps."""
    tree, lines = ast.parse(source), source.splitlines()
    own = own_names(tree)
    inside, sleeping = list[Found](), list[Found]()
    for node, function in within_functions(tree):
        place = f"{file}:{function}"
        line = getattr(node, "lineno", 0)
        if any(name not in own for name in private_names(node)):
            inside.append(Found(place, line, ast.unparse(node)))
        if is_a_sleep(node, lines):
            sleeping.append(Found(place, line, ast.unparse(node)))
    return inside, sleeping


@pytest.fixture(scope="module")
def found() -> tuple[list[Found], list[Found]]:
    inside, sleeping = list[Found](), list[Found]()
    for path in sorted(TESTS.rglob("*.py")):
        one, other = look(path.read_text(), path.relative_to(TESTS).as_posix())
        inside += one
        sleeping += other
    return inside, sleeping


def test_no_test_reaches_inside_another_module_but_where_a_name_says_why(
    found: tuple[list[Found], list[Found]],
) -> None:
    assert [each for each in found[0] if not each.is_in(REACHES_INSIDE)] == []


def test_no_test_sleeps_but_where_a_name_says_why(found: tuple[list[Found], list[Found]]) -> None:
    assert [each for each in found[1] if not each.is_in(SLEEPS)] == []


def test_what_may_reach_inside_or_sleep_does(found: tuple[list[Found], list[Found]]) -> None:
    for allowed, those in zip((REACHES_INSIDE, SLEEPS), found, strict=True):
        functions = {place for place in allowed if not place.endswith(":")}
        assert functions <= {each.place for each in those}


@pytest.mark.parametrize(
    ("source", "inside", "sleeps"),
    [
        ("pool._threads[0]", 1, 0),
        ("pool.threads[0].__class__", 0, 0),
        ("class A:\n    def f(self):\n        self._x = 1\nA()._x", 0, 0),
        ("monkeypatch.setattr(DecodePool, '_tell', die)", 1, 0),
        ("monkeypatch.setattr('service.engine.pool._tell', die)", 1, 0),
        ("monkeypatch.setattr(builtins, '__import__', without)", 0, 0),
        ("from benchmarks._rows import at_least", 1, 0),
        ("from service.metrics import _names", 1, 0),
        ("time.sleep(1)", 0, 1),
        ("from time import sleep", 0, 1),
        ("await asyncio.sleep(0.1)", 0, 1),
        ("await asyncio.sleep(0)", 0, 1),
        ("await asyncio.sleep(0)  # it is in the queue now", 0, 0),
    ],
)
def test_what_is_looked_for_is_found(source: str, inside: int, sleeps: int) -> None:
    assert [len(each) for each in look(source, "x.py")] == [inside, sleeps]
