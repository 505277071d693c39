from dataclasses import dataclass

from training.readers.data_folder_split import held_out_groups, held_out_recordings, position, split


@dataclass(frozen=True)
class Item:
    group: str
    name: str


def test_the_split_hangs_on_the_groups_name_alone() -> None:
    groups = [f"g{k}" for k in range(4000)]
    held = held_out_groups(groups)
    assert held == held_out_groups(reversed(groups))
    assert held_out_groups(groups[:50]) == held & set(groups[:50])
    assert 0.12 < len(held) / len(groups) < 0.18
    assert position("concept:dog") == position("concept:dog") != position("concept:cat")


def test_no_recording_is_on_both_sides_and_every_label_validates() -> None:
    clips = [Item(f"{label}{k // 3}", label) for label in ("dog", "rain", "bell") for k in range(30)]
    clips += [Item("shared", "dog"), Item("shared", "rain"), Item("lone", "airplane")]
    held = held_out_recordings(clips)
    train, validation = split(clips, held)
    assert not {c.group for c in train} & {c.group for c in validation}
    assert {c.name for c in validation} == {"dog", "rain", "bell"}
    assert len(train) + len(validation) == len(clips)
    assert any(c.group == "lone" for c in train)
