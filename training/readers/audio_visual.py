"""Sound and sight: AVE (Tian et al. 2018), Flickr-SoundNet (Senocak et al. 2018), VGG-SS (Chen et al. 2021).

AVE is read from its videos: an event's sound, and the picture in its middle. The other two are read as the
sound localisation benchmarks lay them out, one frame and one sound file of the same name.
"""

from collections.abc import Mapping
from pathlib import Path

from connectors.errors import MissingFiles
from training.examples import Example
from training.inputs import SUFFIXES
from training.readers.reader import Dataset, Examples, Reader, files_by_stem, first_of, read_json

VGGSS_ANNOTATIONS = ("vggss.json", "metadata/vggss.json")


def read_ave(root: Path) -> list[Dataset]:
    """The test events: `testSet.txt`, rows of Category&VideoID&Quality&StartTime&EndTime."""
    sounds, pictures = [], []
    for line in (root / "testSet.txt").read_text(encoding="utf-8").splitlines():
        fields = [field.strip() for field in line.split("&")]
        if len(fields) != 5 or fields[0] == "Category":
            continue
        category, video, _, start, end = fields
        span = (float(start), float(end))
        if span[1] <= span[0]:
            continue
        event = f"{video}:{start}-{end}"
        source = root / "AVE" / f"{video}.mp4"
        sounds.append(Example(event, source=source, label=category, span=span, group=video))
        pictures.append(Example(event, source=source, label=category, span=span, group=video))
    return [Dataset("AVE", {"audio": sounds, "image": pictures})]


def read_vggss(root: Path) -> list[Dataset]:
    """Every annotated clip whose frame and sound are there."""
    annotations = first_of(root, *VGGSS_ANNOTATIONS)
    if annotations is None:
        raise MissingFiles(f"{root} has none of {', '.join(VGGSS_ANNOTATIONS)}")
    labels = {entry["file"]: entry["class"] for entry in read_json(annotations)}
    return [Dataset("VGG-SS", _paired(root, labels))]


def read_flickrnet(root: Path) -> list[Dataset]:
    """Every annotated pair whose frame and sound are there; it has no classes."""
    names = [path.stem for path in sorted((root / "Annotations").glob("*.xml"))]
    return [Dataset("Flickr-SoundNet", _paired(root, dict.fromkeys(names)))]


def _paired(root: Path, labels: Mapping[str, str | None]) -> Examples:
    frames = files_by_stem(root / "frames", SUFFIXES["image"])
    sounds = files_by_stem(root / "audio", SUFFIXES["audio"])
    both = [name for name in labels if name in frames and name in sounds]
    if not both:
        raise MissingFiles(
            f"{root}: none of {len(labels)} annotated clips has both frames/NAME.jpg and audio/NAME.wav"
        )
    return {
        "audio": [Example(name, source=sounds[name], label=labels[name]) for name in both],
        "image": [Example(name, source=frames[name], label=labels[name]) for name in both],
    }


AVE = Reader(
    layout="testSet.txt and AVE/<VideoID>.mp4",
    recognises=lambda root: (root / "testSet.txt").is_file() and (root / "AVE").is_dir(),
    read=read_ave,
)
VGGSS = Reader(
    layout="vggss.json, frames/*.jpg and audio/*.wav",
    recognises=lambda root: first_of(root, *VGGSS_ANNOTATIONS) is not None,
    read=read_vggss,
)
FLICKRNET = Reader(
    layout="Annotations/*.xml, frames/*.jpg and audio/*.wav",
    recognises=lambda root: all((root / name).is_dir() for name in ("Annotations", "frames", "audio")),
    read=read_flickrnet,
)
