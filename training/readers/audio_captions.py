"""AudioCaps (Kim et al. 2019) and Clotho (Drossos et al. 2020): sounds with several captions each."""

from pathlib import Path

from connectors.errors import MissingFiles
from training.examples import Example
from training.inputs import SUFFIXES
from training.readers.reader import Dataset, Reader, files_by_stem, first_of, read_table

AUDIOCAPS_TABLES = ("test.csv", "dataset/test.csv", "audiocaps_test.csv")
CLOTHO_TABLE = "clotho_captions_evaluation.csv"


def read_audiocaps(root: Path) -> list[Dataset]:
    """The test split. A clip's file may be named by YouTube id and start time, or by either id alone."""
    table = first_of(root, *AUDIOCAPS_TABLES)
    if table is None:
        raise MissingFiles(f"{root} has none of {', '.join(AUDIOCAPS_TABLES)}")
    files = files_by_stem(root, SUFFIXES["audio"])
    sounds: dict[str, Example] = {}
    captions = []
    for row in read_table(table):
        clip = f"{row['youtube_id']}_{row['start_time']}"
        names = (clip, row["youtube_id"], f"Y{row['youtube_id']}", row["audiocap_id"])
        source = next((files[name] for name in names if name in files), root / "test" / f"{clip}.wav")
        sounds.setdefault(clip, Example(clip, source=source, group=row["youtube_id"]))
        captions.append(Example(clip, text=row["caption"], group=row["youtube_id"]))
    return [Dataset("AudioCaps", {"audio": list(sounds.values()), "text": captions})]


def read_clotho(root: Path) -> list[Dataset]:
    """The evaluation split: five captions a sound."""
    folder = first_of(root, "evaluation", "clotho_audio_evaluation/evaluation", "clotho_audio_evaluation")
    if folder is None:
        raise MissingFiles(f"{root} has no folder `evaluation` with Clotho's sounds")
    rows = read_table(root / CLOTHO_TABLE)
    sounds = [Example(row["file_name"], source=folder / row["file_name"].strip()) for row in rows]
    captions = [
        Example(row["file_name"], text=row[f"caption_{n}"])
        for row in rows
        for n in range(1, 6)
        if row.get(f"caption_{n}")
    ]
    return [Dataset("Clotho", {"audio": sounds, "text": captions})]


AUDIOCAPS = Reader(
    layout="test.csv (audiocap_id, youtube_id, start_time, caption) and sounds in any folder",
    recognises=lambda root: (
        (table := first_of(root, *AUDIOCAPS_TABLES)) is not None
        and "audiocap_id" in table.read_text(encoding="utf-8", errors="replace")[:200]
    ),
    read=read_audiocaps,
)
CLOTHO = Reader(
    layout=f"{CLOTHO_TABLE} and evaluation/*.wav",
    recognises=lambda root: (root / CLOTHO_TABLE).is_file(),
    read=read_clotho,
)
