"""What tests of several files ask for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of chapter 10's presets; of `tiny` it holds the collection."""
    from job_runs import TINY, quiet

    from apprentice_workflows.on_the_job.collection import collect

    folder = tmp_path_factory.mktemp("on_the_job")
    collect(folder / "tiny" / "episodes", TINY, quiet)
    return folder
