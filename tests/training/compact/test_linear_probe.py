import torch

from training.compact.linear_probe import linear_probe


def test_what_a_line_can_tell_apart_is_told_apart_and_what_is_not_there_is_guessed() -> None:
    torch.manual_seed(0)
    names = [name for name in ("dog", "cat", "rain") for _ in range(20)]
    centres = {name: torch.randn(8) for name in ("dog", "cat", "rain")}
    told = torch.stack([centres[name] for name in names]) + 0.1 * torch.randn(60, 8)
    held = torch.stack([centres[name] for name in ("rain", "dog", "cat")])
    assert linear_probe(told, names, held, ["rain", "dog", "cat"]) == 1.0
    assert linear_probe(torch.randn(60, 8), names, torch.randn(300, 8), names * 5) < 0.6


def test_a_class_that_was_never_heard_counts_as_wrong() -> None:
    features = torch.eye(4)
    assert linear_probe(features[:2], ["dog", "cat"], features[[0, 1, 2]], ["dog", "cat", "bell"]) == 2 / 3
