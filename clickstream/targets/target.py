"""The target: the kit's servers on this machine, or the hosted ones of `conf/`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from clickstream.errors import CONF, TARGET, Command, ConfigError
from clickstream.servers import local
from clickstream.servers.nodes import Name
from clickstream.settings import HOSTED, LOCAL, Settings
from clickstream.targets import conf_files, reachability


@dataclass(frozen=True)
class Target:
    """The local pair, or the hosted one and the folder with its two files."""

    name: str
    folder: Path

    @property
    def is_hosted(self) -> bool:
        """Whether somebody else runs its servers."""
        return self.name == HOSTED

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make a kernel and its child processes use the same target."""
        return {TARGET: self.name, CONF: str(self.folder.absolute())}

    def find(
        self,
        *,
        namespace: str | None = None,
        say: Callable[[str], None] | None = None,
        need: Collection[Name] = local.NAMES,
    ) -> Settings:
        """Return the settings after both servers have answered; starts nothing.

        Args:
            namespace: by default `CLICKSTREAM_NAMESPACE`, or none.
            say: called with one line if other users can read a file with a secret.
            need: the servers that must answer.

        Raises:
            ConfigError: as `conf_files.read` and `reachability.check`, or the namespace cannot
                be part of a name.
            ServerError: a local server is not up, or a hosted one cannot be reached.
        """
        if not self.is_hosted:
            return _in_namespace(local.find(need), namespace)
        settings = conf_files.read(self.folder)
        if say and (paths := conf_files.readable_by_others(self.folder, settings)):
            what = f"{', '.join(map(str, paths))} can be read by other users of this machine"
            say(f"{what}; {conf_files.chmod_remedy(paths)}")
        reachability.check(settings, need)
        return _in_namespace(settings, namespace)

    def read(self) -> Settings:
        """Return the same as `find`, but without connecting to a hosted target.

        Raises:
            ConfigError, ServerError: as `find`.
        """
        return _in_namespace(conf_files.read(self.folder), None) if self.is_hosted else self.find()

    def up(
        self, *, namespace: str | None = None, say: Callable[[str], None] | None = None
    ) -> Settings:
        """Return the same as `find`, and start local servers that are down.

        Raises:
            ConfigError: as `find`.
            ServerError: as `find` and `local.up`.
        """
        if self.is_hosted:
            return self.find(namespace=namespace, say=say)
        return _in_namespace(local.up(say=say), namespace)


def _in_namespace(found: Settings, namespace: str | None) -> Settings:
    return found.in_namespace(namespace) if namespace else found.in_own_namespace()


def choose(folder: Path, wanted: str | None = None) -> Target:
    """Choose the wanted target; by default the hosted one if the folder configures it.

    Raises:
        ConfigError: no such target, or the folder has only one of the two files.
    """
    if wanted is None:
        return Target(HOSTED if conf_files.is_configured(folder) else LOCAL, folder)
    if wanted not in (LOCAL, HOSTED):
        msg = f"unknown target {wanted!r}, valid: {LOCAL}, {HOSTED}"
        raise ConfigError(msg)
    return Target(wanted, folder)


def from_environment() -> Target:
    """Choose the target that `clickstream demo` passes to its kernels in the environment.

    Without these variables it is the local one: a notebook never uses a hosted target by itself.

    Raises:
        ConfigError: no such target, or the path of the hosted one's folder is not absolute.
    """
    folder = Path(os.path.expanduser(os.environ.get(CONF) or "."))
    target = choose(folder, os.environ.get(TARGET) or LOCAL)
    if target.is_hosted and not target.folder.is_absolute():
        msg = f"{TARGET}={HOSTED} requires the absolute path of a folder in {CONF}"
        raise ConfigError(msg, (Command("demo"), " sets both"))
    return target
