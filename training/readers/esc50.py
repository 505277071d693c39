"""ESC-50 (Piczak 2015): 2,000 environmental sounds of 50 classes, for zero-shot classification."""

from pathlib import Path

from training.examples import Example
from training.readers.reader import Dataset, Reader, in_use, read_table, words


def read(root: Path) -> list[Dataset]:
    """All clips, labelled with their category and grouped by the recording they were cut from."""
    clips = [
        Example(
            row["filename"],
            source=root / "audio" / row["filename"],
            label=words(row["category"]),
            group=row.get("src_file"),
        )
        for row in read_table(root / "meta" / "esc50.csv")
    ]
    return [Dataset("ESC-50", {"audio": clips}, in_use(clips), ("This is a sound of {}.",))]


ESC50 = Reader(
    layout="meta/esc50.csv and audio/*.wav",
    recognises=lambda root: (root / "meta" / "esc50.csv").is_file(),
    read=read,
)
