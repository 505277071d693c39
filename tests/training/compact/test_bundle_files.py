import json
from dataclasses import asdict
from pathlib import Path

import pytest

from connectors.bundle import bundle_directory
from connectors.errors import ConfigError, MissingFiles
from training.compact.bundle_files import MANIFEST, sha256, steps_of
from training.compact.plan import FULL, QUICK


def test_encoders_are_kept_only_where_the_same_plan_made_them(tmp_path: Path) -> None:
    with pytest.raises(MissingFiles, match="train the encoders first"):
        steps_of(tmp_path, FULL)
    (tmp_path / MANIFEST).write_text(json.dumps({"plan": asdict(FULL), "steps": {"words": {"seconds": 9}}}))
    assert steps_of(tmp_path, FULL) == {"words": {"seconds": 9}}
    with pytest.raises(ConfigError, match="another plan"):
        steps_of(tmp_path, QUICK)


def test_the_shipped_bundle_is_of_todays_plan_and_its_files_are_those_of_its_manifest() -> None:
    bundle = bundle_directory("compact")
    assert steps_of(bundle, FULL)
    listed = json.loads((bundle / MANIFEST).read_text())["sha256"]
    found = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()} - {MANIFEST}
    assert found == set(listed)
    assert all(sha256((bundle / name).read_bytes()) == digest for name, digest in listed.items())
