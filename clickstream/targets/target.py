"""Which Kafka and OpenSearch: the kit's own on this machine, or the hosted ones of `conf/`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from clickstream.errors import CONF, ConfigError, command
from clickstream.servers import local
from clickstream.servers.nodes import Name
from clickstream.settings import Settings
from clickstream.targets import conf_files, reachability

LOCAL, HOSTED = "local", "hosted"
TARGET, FOLDER = "CLICKSTREAM_TARGET", CONF
"""The variables that name one of them, and the folder."""


@dataclass(frozen=True)
class Target:
    """One of the two, and the folder that says where the hosted one is."""

    name: str
    folder: Path

    @property
    def is_hosted(self) -> bool:
        """Whether somebody else runs it."""
        return self.name == HOSTED

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which a kernel, and what it starts, finds the same target."""
        return {TARGET: self.name, FOLDER: str(self.folder.absolute())}

    def find(
        self,
        *,
        namespace: str | None = None,
        say: Callable[[str], None] | None = None,
        need: Collection[Name] = local.NAMES,
    ) -> Settings:
        """Give its settings; starts nothing.

        Args:
            namespace: by default that which `CLICKSTREAM_NAMESPACE` names, if it does.
            say: called with a line where others can read a file with a secret.
            need: the servers that have to answer.

        Raises:
            ConfigError: as `hosted.read` and `reach.check`, or the namespace cannot be part of
                a name.
            ServerError: a local server is not up, or a hosted one not to be reached.
        """
        if not self.is_hosted:
            return _in(local.find(need), namespace)
        settings = conf_files.read(self.folder)
        if say and (read := conf_files.loose(self.folder, settings)):
            found = ", ".join(map(str, read))
            say(f"{found} can be read by other users of this machine; {conf_files.remedy(read)}")
        reachability.check(settings, need)
        return _in(settings, namespace)

    def described(self) -> Settings:
        """Give what `find` gives, of a hosted target without going there.

        Raises:
            ConfigError, ServerError: as `find`.
        """
        return _in(conf_files.read(self.folder), None) if self.is_hosted else self.find()

    def up(
        self, *, namespace: str | None = None, progress: Callable[[str], None] | None = None
    ) -> Settings:
        """Give the same, and start the local servers where they are down.

        Raises:
            ConfigError: as `find`.
            ServerError: as `servers.up`.
        """
        if self.is_hosted:
            return self.find(namespace=namespace, say=progress)
        return _in(local.up(progress=progress), namespace)


def _in(found: Settings, namespace: str | None) -> Settings:
    return found.in_namespace(namespace) if namespace else found.in_own_namespace()


def choose(folder: Path, wanted: str | None = None) -> Target:
    """Choose what is wanted, or else the hosted target where a folder names one.

    Raises:
        ConfigError: no such target, or the folder has one of its two files.
    """
    if wanted is None:
        return Target(HOSTED if conf_files.is_configured(folder) else LOCAL, folder)
    if wanted not in (LOCAL, HOSTED):
        msg = f"target {wanted!r}: there is {LOCAL} and {HOSTED}"
        raise ConfigError(msg)
    return Target(wanted, folder)


def of_kernel() -> Target:
    """Choose what the environment names, as `clickstream demo` does for its kernels.

    Without it the local target: a notebook never finds a hosted one by itself.

    Raises:
        ConfigError: the environment names no target there is, or not where the hosted one is.
    """
    target = choose(Path(os.environ.get(FOLDER) or "."), os.environ.get(TARGET) or LOCAL)
    if target.is_hosted and not target.folder.is_absolute():
        msg = (
            f"{TARGET}={HOSTED} without the whole path of a folder in {FOLDER}; "
            f"{command('demo')} sets both"
        )
        raise ConfigError(msg)
    return target
