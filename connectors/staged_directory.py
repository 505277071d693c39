"""Writing a directory whole or not at all: readers see the former one or the new one, never half."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged_directory(target: Path | str) -> Iterator[Path]:
    """Give an empty directory beside `target`; what is written in it becomes `target` when the block ends.

    A former `target` is replaced. If the block raises, it stays as it was.
    """
    final = Path(target)
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{final.name}-", dir=final.parent) as scratch:
        staging, former = Path(scratch) / "new", Path(scratch) / "former"
        staging.mkdir()
        yield staging
        if final.exists():
            final.rename(former)
        staging.rename(final)
        shutil.rmtree(former, ignore_errors=True)
