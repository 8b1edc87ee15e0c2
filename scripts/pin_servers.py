"""Writes clickstream/servers/servers.sha256: resolves the servers' versions and their dependencies.

Run it after a change of a version: `.venv/bin/python -m scripts.pin_servers`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from jgo.maven import PythonResolver

from clickstream.servers import download, manifest

KAFKA = [
    f"org.apache.kafka:kafka_2.13:jar:{download.KAFKA_VERSION}",
    # Named explicitly, because jgo would resolve an older version that is nearer in the tree.
    f"org.apache.kafka:kafka-clients:jar:{download.KAFKA_VERSION}",
    # Without an slf4j binding on the class path the broker exits without a message.
    "org.apache.logging.log4j:log4j-slf4j-impl:jar:2.25.4",
    "org.apache.logging.log4j:log4j-core:jar:2.25.4",
]
OPENSEARCH = (
    "org.opensearch.distribution.integ-test-zip:opensearch:zip:" + download.OPENSEARCH_VERSION
)


def main() -> None:
    """Download every file, and write its hash, its size and its coordinate."""
    with tempfile.TemporaryDirectory() as folder:
        resolver = PythonResolver()
        roots = [download.artifact(coordinate, Path(folder), resolver) for coordinate in KAFKA]
        context = roots[0].context
        wanted = [context.create_dependency(coordinate) for coordinate in KAFKA]
        inputs, transitive = resolver.resolve(wanted)
        artifacts = {dependency.artifact for dependency in inputs + transitive}
        coordinates = {f"{a.groupId}:{a.artifactId}:{a.packaging}:{a.version}" for a in artifacts}
        lines = []
        for coordinate in sorted(coordinates | {OPENSEARCH}):
            path = download.artifact(coordinate, Path(folder), resolver).resolve()
            lines.append(f"{download.sha256(path)} {path.stat().st_size} {coordinate}\n")
    manifest.PATH.write_text("".join(lines))


if __name__ == "__main__":
    main()
