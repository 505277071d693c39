"""Wheels for a machine without a network: what the check needs beside torch, torchvision and numpy.

    python benchmarks/gpu_check/wheels.py fetch FOLDER [--python 3.12]     with a network
    python benchmarks/gpu_check/wheels.py install FOLDER TARGET            there, by the Python that has torch

`fetch` downloads those for one version of Python on Linux, pinned by constraints.txt, and refuses a folder
that is too large to be carried along with the tracked files. `install` puts those into TARGET that its Python
lacks or has older ones of; what others there were chosen with stays as it is. Needs nothing but pip.
"""

import argparse
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
MOST_BYTES = 62 * MIB
"""Of tracked files and wheels together."""
GLIBC = (5, 12, 17, 24, 26, 27, 28, 31, 34)
"""Versions of glibc's 2.x that wheels are tagged with and the machine is taken to have."""
NEEDED = (
    *("open_clip_torch", "ftfy", "wcwidth", "regex", "timm", "huggingface_hub", "safetensors", "tokenizers"),
    *("tqdm", "pyyaml", "packaging", "soundfile", "cffi", "soxr", "laspy", "lazrs", "trimesh"),
    *("mapbox-earcut", "msgspec", "qdrant-client", "grpcio", "portalocker", "protobuf", "urllib3"),
    *("fastapi", "starlette", "uvicorn", "h11", "click", "httptools", "python-multipart", "pybase64"),
    *("pydantic", "pydantic-core", "pydantic-settings", "python-dotenv", "typing-inspection"),
    *("typing-extensions", "annotated-types", "annotated-doc", "anyio", "idna", "sniffio"),
    *(
        "httpx",
        "httpcore",
        "httpx2",
        "httpcore2",
        "truststore",
        "certifi",
        "opentelemetry-api",
        "prometheus-client",
    ),
    *("rich", "markdown-it-py", "mdurl", "pygments"),
)
LEFT_OUT = ("av", "pillow-heif", "qdrant-edge-py", "typer")
"""Large, or of the command line: nothing of the check needs them."""
THERE = ("torch", "torchvision", "numpy", "pillow", "filelock", "fsspec")
"""Packages that come with torch and torchvision."""
UNUSED = ("hf-xet", "pycparser")
"""Packages that those of the list require and the check never has them use: downloads, parsing of C."""
AS_THEY_ARE = ("huggingface-hub", "tokenizers", "safetensors", "timm", "tqdm", "packaging", "pyyaml")
"""Not replaced where they are older: others there were chosen with them."""
TOGETHER = (("pydantic", "pydantic-core"), ("fastapi", "starlette"), ("httpx", "httpcore"))
"""Of these one goes with exactly one of the other: where one is installed, so is the other."""


def fetch(folder: Path, python: str) -> None:
    """Download every wheel; exits with what is wrong if pip fails or they are too large."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tags = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC] + ["manylinux2014_x86_64", "manylinux1_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command += [part for tag in tags for part in ("--platform", tag)]
    command += ["-c", str(ROOT / "constraints.txt"), "-d", str(folder), *NEEDED]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit("pip could not download every wheel, see above")
    if missing := sorted(set(_unmet(sorted(folder.glob("*.whl")), python))):
        raise SystemExit(f"NEEDED lacks what others of it require: {', '.join(missing)}")
    wheels = sum(file.stat().st_size for file in folder.iterdir())
    tracked = _tracked_bytes()
    said = f"{wheels / MIB:.1f} MiB of wheels and {tracked / MIB:.1f} MiB of tracked files"
    if wheels + tracked > MOST_BYTES:
        raise SystemExit(f"{said} are more than {MOST_BYTES / MIB:.0f} MiB: leave something out of NEEDED")
    print(f"{folder}: {len(NEEDED)} wheels for Python {python}; {said}, of {MOST_BYTES / MIB:.0f}")


def _unmet(wheels: Sequence[Path], python: str) -> Iterator[str]:
    """Yield what the wheels require that neither they are nor torch brings: better known here than there."""
    from pip._vendor.packaging.requirements import Requirement

    known = {_name(wheel.name.split("-")[0]) for wheel in wheels} | {*THERE, *UNUSED}
    there = {"extra": "", "python_version": python, "python_full_version": f"{python}.0"}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as opened:
            told = next(name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
            lines = opened.read(told).decode("utf-8").partition("\n\n")[0].splitlines()
        for line in lines:
            if line.startswith("Requires-Dist:"):
                required = Requirement(line.partition(":")[2])
                applies = required.marker is None or required.marker.evaluate(there)
                if applies and _name(required.name) not in known:
                    yield f"{required.name} (for {wheel.name.split('-')[0]})"


def install(folder: Path, target: Path) -> None:
    """Install what this Python lacks, and tell it that Isthmus is there."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    chosen = choose(sorted(folder.glob("*.whl")))
    if chosen:
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index"]
        command += ["--no-deps", "--target", str(target), *map(str, chosen)]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit("pip could not install the wheels, see above; are they for this Python?")
    if _installed("isthmus") is None:
        _announce(target)
    print(f"{len(chosen)} packages installed for this check, those this Python has are used as they are")


def choose(wheels: Sequence[Path]) -> list[Path]:
    """The wheels to install: of packages that are not there, or older and free to change."""
    named = {_name(wheel.name.split("-")[0]): wheel for wheel in wheels}
    wanted = {name for name, wheel in named.items() if _wanted(name, wheel.name.split("-")[1])}
    for group in TOGETHER:
        if wanted & set(group):
            wanted |= set(group) & set(named)
    return [named[name] for name in sorted(wanted)]


def _wanted(name: str, offered: str) -> bool:
    there = _installed(name)
    if there is None:
        return True
    return name not in AS_THEY_ARE and _numbers(there) < _numbers(offered)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(told: str) -> tuple[int, ...]:
    """A version's numbers, up to the first part that is none."""
    return tuple(_leading(told))


def _leading(told: str) -> Iterator[int]:
    for part in told.split("+")[0].split("."):
        if not part.isdigit():
            return
        yield int(part)


def _name(written: str) -> str:
    return written.lower().replace("_", "-").replace(".", "-")


def _announce(target: Path) -> None:
    """The metadata of an installed Isthmus, which is asked for its version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder = target / f"{project['name']}-{project['version']}.dist-info"
    folder.mkdir()
    told = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (folder / "METADATA").write_text(told, encoding="utf-8")


def _tracked_bytes() -> int:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    files = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    return sum(file.stat().st_size for file in files if file.is_file())


def main() -> None:
    """Do what the command line says."""
    options_of = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = options_of.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch", help="download the wheels")
    fetching.add_argument("folder", type=Path)
    fetching.add_argument("--python", default="3.12", help="the version they are for")
    installing = commands.add_parser("install", help="install those that are missing")
    installing.add_argument("folder", type=Path)
    installing.add_argument("target", type=Path)
    options = options_of.parse_args()
    if options.command == "fetch":
        fetch(options.folder, options.python)
    else:
        install(options.folder, options.target)


if __name__ == "__main__":
    main()
