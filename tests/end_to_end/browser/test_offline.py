"""The venue's network is gone: servers, JupyterLab, kernel and browser on loopback alone."""

import pytest

from benchmarks import offline

pytestmark = pytest.mark.slow


@pytest.mark.timeout(240)
def test_everything_works_without_a_network(chromium: str) -> None:
    """Charts move and numbers agree, and nobody asks for anything from elsewhere."""
    try:
        found = offline.look()
    except offline.NotTried as why:
        pytest.skip(str(why))
    assert found.is_good, found
