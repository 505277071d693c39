import torch
from torch.nn import functional as F

from training.compact.held_out import View
from training.compact.report import as_table, concept_lines, mesh_lines, name_lines, zero_shot_line

AXES = torch.eye(4)


def figure(lines, name):
    return next(line for line in lines if line.figure == name)


def test_retrieval_by_concept_leaves_out_what_has_none() -> None:
    query = View(AXES[[0, 1, 2]], ("dog", "cat", ""), ("bark", "meow", "hiss"))
    target = View(AXES[[0, 1, 1, 3]], ("dog", "cat", "dog", ""), ("a", "b", "c", "d"))
    lines = concept_lines("audio to image", "x", query, target)
    assert (lines[0].queries, lines[0].targets) == (2, 3)
    assert figure(lines, "R@1").value == 0.75  # dog surely; cat ties with a dog at the same place
    assert 0 < figure(lines, "R@1").chance < 1


def test_zero_shot_is_the_nearest_class_name() -> None:
    media = View(AXES[[0, 1, 1]], ("", "", ""), ("bell", "dog", "bell"))
    order = {"bell": 0, "dog": 1}
    line = zero_shot_line("t", "x", media, lambda names: AXES[[order[n] for n in names]], "{}")
    assert abs(line.value - 2 / 3) < 1e-6 and line.chance == 0.5


def test_names_find_their_media() -> None:
    media = View(AXES, ("", "", "", ""), ("a", "b", "c", "d"))
    order = {"a": 0, "b": 1, "c": 2, "d": 3}
    lines = name_lines("t", "x", media, lambda names: AXES[[order[n] for n in names]])
    assert figure(lines, "R@1").value == 1.0


def test_shapes_are_sought_among_seen_things_only() -> None:
    clouds = View(AXES[[0, 1, 2]], ("", "", ""), ("chair", "chair", "idol"), ("m0", "m1", "m2"))
    pictures = View(AXES[[1, 0, 2]], ("", "", ""), ("chair", "chair", "idol"), ("m0", "m0", "m2"))
    lines = mesh_lines("x", pictures, clouds, {"chair"})
    strict = next(x for x in lines if x.task == "image to 3D, same mesh" and x.figure == "R@1")
    loose = next(x for x in lines if x.task == "image to 3D, same name" and x.figure == "R@1")
    assert (strict.queries, strict.targets) == (2, 2)
    assert strict.value == 0.5 and loose.value == 1.0


def test_the_table_has_a_row_a_task_and_variant() -> None:
    view = View(F.normalize(torch.randn(5, 4), dim=1), tuple("aabbc"), tuple("vwxyz"))
    table = as_table(concept_lines("t", "one", view, view) + concept_lines("t", "two", view, view))
    assert len(table.splitlines()) == 4 and "R@10" in table
