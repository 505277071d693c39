"""The folder the compact bundle is trained from, as evaluation data: by default what training held out.

Given the folder `make train-compact DATA=...` names, gives four datasets: things of one concept in sound,
picture and shape; sounds of ESC's classes; renders and point clouds of the same models; pictures and
their names. Which items training never saw is the rule of `data_folder_split`.
"""

from collections.abc import Sequence
from pathlib import Path

from training.examples import Example
from training.readers.data_folder_records import Clip, Cloud, Picture, read_clips, read_clouds, read_pictures
from training.readers.data_folder_split import held_out_groups, held_out_recordings, split
from training.readers.reader import Dataset, Reader, in_use

CLOUDS = Path("pointclouds") / "train.npz"


def read_held_out(root: Path) -> list[Dataset]:
    """The items that training held out."""
    clips, pictures, clouds = read_clips(root), read_pictures(root), read_clouds(root)
    groups = held_out_groups({thing.group for things in (pictures, clouds) for thing in things})
    return _datasets(
        root,
        split(clips, held_out_recordings(clips))[1],
        split(pictures, groups)[1],
        split(clouds, groups)[1],
    )


def read_all(root: Path) -> list[Dataset]:
    """Every item: for a folder of this layout that nothing was trained on."""
    return _datasets(root, read_clips(root), read_pictures(root), read_clouds(root))


def _datasets(
    root: Path, clips: Sequence[Clip], pictures: Sequence[Picture], clouds: Sequence[Cloud]
) -> list[Dataset]:
    def clip(item: Clip, label: str) -> Example:
        name = str(item.path.relative_to(root))
        return Example(name, source=item.path, label=label or None, group=item.group)

    def picture(item: Picture, label: str) -> Example:
        name = item.mesh or str(item.path.relative_to(root))
        return Example(name, source=item.path, label=label or None, group=item.group)

    def cloud(item: Cloud, label: str) -> Example:
        return Example(item.mesh, source=root / CLOUDS, row=item.index, label=label or None, group=item.group)

    def named(*examples: Sequence[Example]) -> list[Example]:
        labels = in_use([example for part in examples for example in part])
        return [Example(f"text:{label}", text=label, label=label) for label in labels]

    concepts = Dataset(
        "concepts",
        {
            "audio": [clip(c, c.concept) for c in clips if c.concept],
            "image": [picture(p, p.concept) for p in pictures if p.concept],
            "point_cloud": [cloud(c, c.concept) for c in clouds if c.concept],
        },
    )
    esc = [clip(c, c.name) for c in clips if c.kind == "esc"]
    renders = [picture(p, p.name) for p in pictures if p.kind == "render"]
    shapes = [cloud(c, c.name) for c in clouds]
    others = [picture(p, p.name) for p in pictures if p.kind != "render"]
    return [
        concepts,
        Dataset("ESC", {"audio": esc}, in_use(esc), ("This is a sound of {}.",)),
        Dataset("models", {"image": renders, "point_cloud": shapes, "text": named(renders, shapes)}),
        Dataset("pictures", {"image": others, "text": named(others)}),
    ]


def _recognises(root: Path) -> bool:
    return (root / CLOUDS).is_file() and (root / "audio" / "esc" / "meta.csv").is_file()


DATA_FOLDER = Reader(
    layout="audio/esc, audio/sounds, images/* and pointclouds, each with meta.csv (what training held out)",
    recognises=_recognises,
    read=read_held_out,
)
WHOLE_DATA_FOLDER = Reader(
    layout="the same folder, every item of it",
    recognises=lambda root: False,  # only by name: most of it was trained on
    read=read_all,
)
