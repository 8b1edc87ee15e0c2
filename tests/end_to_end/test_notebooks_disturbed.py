"""The notebook that stops OpenSearch during live traffic."""

from pathlib import Path

import pytest

from clickstream.settings import Settings
from tests.support.notebooks import assert_runs_twice, tracked


@pytest.mark.timeout(480)
@pytest.mark.parametrize("name", [name for name in tracked() if name.startswith("07")])
def test_a_notebook_runs_twice_in_one_kernel(
    name: str, settings: Settings, tmp_path: Path, is_whole: bool
) -> None:
    """Notebook 07 runs like every other; in `make test` only once."""
    assert_runs_twice(name, settings, tmp_path / "page.html", again=is_whole)
