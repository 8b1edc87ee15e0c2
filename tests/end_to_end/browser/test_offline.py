"""The demo without a network: servers, JupyterLab, kernel and browser on loopback."""

import pytest

from benchmarks import offline

pytestmark = pytest.mark.slow


@pytest.mark.timeout(240)
def test_everything_works_without_a_network(chromium: str) -> None:
    """Charts update and numbers agree, without any request to another machine."""
    try:
        found = offline.look()
    except offline.NotTried as why:
        pytest.skip(str(why))
    assert found.is_good, found
