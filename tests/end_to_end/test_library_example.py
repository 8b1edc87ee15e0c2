"""The README's twelve lines of Python print what it shows."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from clickstream.kafka import topics
from clickstream.opensearch import client, index
from clickstream.settings import Settings

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = re.compile(r"```python\n(.*?)```.*?```text\n(.*?)```", re.DOTALL)


def test_the_library_in_twelve_lines_prints_what_the_readme_shows(
    settings: Settings,
) -> None:
    """An event, produced, indexed and counted, on the real servers; twelve lines at most."""
    code, shown = EXAMPLE.search((ROOT / "README.md").read_text()).groups()  # type: ignore[union-attr]
    own = settings.in_namespace("readme")
    said = StringIO()
    try:
        with redirect_stdout(said):
            exec(compile(code, "README.md", "exec"), {})
    finally:
        topics.delete_topics(own.kafka)
        index.delete(client.connect(own.opensearch), own.opensearch.index)

    assert said.getvalue() == shown
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
