"""Make .venv with the pinned packages: what every make target does first.

Standard library alone, and syntax that an old Python reads, so that it is told in one line.

    python3 scripts/install.py            the runtime set
    python3 scripts/install.py --dev      the test tools, too
    python3 scripts/install.py --prepare  fetch the wheels into the cache as well
"""

import ast
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "complete")
RUNTIME = "requirements.lock"
DEV = "requirements-dev.lock"
# Measured on Linux: the wheels of each lock.
WHEELS_MB = {RUNTIME: 141, DEV: 256}
OLDEST = (3, 11)


def main():
    """Install what the arguments ask for into .venv; quick if it is already installed."""
    lock = DEV if "--dev" in sys.argv else RUNTIME
    check_python()
    if "--use" in sys.argv:
        sys.stderr.write("--use was removed: pack the cache with `tar`, see docs/presenting.md\n")
        sys.exit(2)
    if not is_ready(lock):
        with locked(ROOT):
            if not is_ready(lock):  # another make may have been first
                install(lock)
    if "--prepare" in sys.argv:
        prepare(lock)


def check_python():
    """End with one line where this Python cannot carry the kit."""
    if os.name == "nt":
        sys.exit("native Windows is not supported; use WSL2 with Ubuntu, the clone inside it")
    if sys.version_info < OLDEST:
        sys.exit(
            "this is Python %d.%d, the kit needs %d.%d or newer; "
            "install one and run: make PYTHON=python3.12 demo" % (sys.version_info[:2] + OLDEST)
        )
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian leaves it out of python3
    except ImportError:
        sys.exit("this Python has no venv module; on Debian and Ubuntu: apt install python3-venv")


def digest(lock):
    """Name the state of a lock."""
    sha = hashlib.sha256()
    for name in (lock, "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            sha.update(file.read())
    return sha.hexdigest()[:16]


def stamp(lock):
    """Give what the stamp in .venv says when all of a lock is there, and was put there here."""
    return "%s\n%s-%s\n" % (ROOT, lock, digest(lock))


def stamped():
    """Read the stamp; nothing where .venv is not there, or its Python is gone."""
    if not os.path.exists(PYTHON) or not os.path.exists(STAMP):
        return ""
    with open(STAMP, "rb") as file:
        return os.fsdecode(file.read())


def write_stamp(text):
    """Say how far .venv is."""
    with open(STAMP, "wb") as file:
        file.write(os.fsencode(text))


def is_ready(lock):
    """Say whether .venv holds the lock; the test set holds the runtime set."""
    return stamped() in (stamp(lock), stamp(DEV))


@contextlib.contextmanager
def locked(folder):
    """Let one at a time work in a folder; the other waits, and is told."""
    import fcntl  # noqa: PLC0415 - Windows, refused by now, has none

    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another make is running in %s; waiting for it ..." % folder)
            fcntl.flock(opened, fcntl.LOCK_EX)
        except OSError as error:
            say("%s has no locks (%s); going on without." % (folder, error.strerror))
        yield
    finally:
        os.close(opened)


def cache():
    """Name the folder that all clones share, as clickstream/servers/download.py does."""
    base = "~/Library/Caches" if sys.platform == "darwin" else os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith(("/", "~/Library")):
        base = "~/.cache"
    named = os.environ.get("CLICKSTREAM_CACHE") or os.path.join(base, "clickstream")
    return os.path.realpath(os.path.expanduser(named))


def wheels(lock):
    """Name the folder of a lock's wheels for this Python; it exists only when it is complete."""
    python = PYTHON if os.path.exists(PYTHON) else sys.executable
    kind = "import sys, sysconfig as s; print(sys.implementation.cache_tag, s.get_platform())"
    tags = subprocess.check_output([python, "-c", kind], env=bare()).decode().split()
    return os.path.join(cache(), "wheels", "-".join([lock, digest(lock)] + tags))


def servers_mb():
    """Say how much `clickstream` will fetch once it runs; 0 when its files are there."""
    sys.path.insert(0, ROOT)
    from pathlib import Path  # noqa: PLC0415 - Python 2 has none

    from clickstream.servers import manifest  # noqa: PLC0415 - an old Python cannot read it

    servers = Path(cache()) / "servers"
    return (
        sum(each.size for each in manifest.read(manifest.PATH) if not each.is_in(servers))
        // 1000000
    )


def say(line):
    """Tell the user what happens, at once."""
    print(line, flush=True)


def install(lock):
    """Make .venv anew where it is not usable, and install the lock and the kit into it."""
    # One that was moved or copied here has its old place in every script.
    made_here = stamped().startswith(ROOT + "\n")
    if not made_here or subprocess.call([PYTHON, "-m", "pip", "--version"], env=bare(), **QUIET):
        shutil.rmtree(VENV, ignore_errors=True)
    local = wheels(lock) if os.path.isdir(wheels(lock)) else None
    wanted = [] if local else ["about %d MB of Python packages" % WHEELS_MB[lock]]
    if servers_mb():
        wanted.append("%d MB of servers" % servers_mb())
    if local:
        say("Installing the Python packages from %s." % local)
    if wanted:
        say("First run: downloading %s; 1 to 5 minutes, once." % " and ".join(wanted))
    else:
        say("There is nothing to download.")
    if not os.path.exists(PYTHON):
        run([sys.executable, "-m", "venv", VENV], "creating .venv")
    write_stamp(ROOT + "\n")
    source = ["--no-index", "--find-links", local] if local else []
    environment = for_pip()
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
    say("  packages ...")
    # Python compiles what it imports; all of it now would take a third of the time.
    install = ["install", "--no-compile", "--require-hashes", "-r", lock]
    run(pip + install + source, "installing packages", environment)
    say("  the kit itself ...")
    own = ["install", "--no-deps", "--no-build-isolation", "--no-index", "-e", "."]
    run(pip + own, "installing the kit", environment)
    write_stamp(stamp(lock))
    say("  done: .venv is ready.")


def prepare(lock):
    """Download every wheel of the lock into the cache."""
    folder = wheels(lock)
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        with locked(os.path.dirname(folder)):
            if not os.path.isdir(folder):
                say("Downloading about %d MB of wheels into %s ..." % (WHEELS_MB[lock], folder))
                part = folder + ".part"
                pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "download"]
                command = pip + ["--no-deps", "--require-hashes", "-r", lock, "-d", part]
                run(command, "downloading wheels", for_pip())
                os.replace(part, folder)
    except OSError as error:
        sys.exit(
            "storing wheels in %s: %s; make it writable, or set another folder with "
            "CLICKSTREAM_CACHE" % (cache(), error.strerror)
        )
    say("wheels are in %s" % folder)


# What pip needs to reach an index through the user's network. Its other settings change what is
# installed, or where, and the locks say both.
NETWORK = (
    "index-url", "extra-index-url", "find-links", "no-index", "keyring-provider",
    "proxy", "cert", "client-cert", "trusted-host", "use-feature", "use-deprecated",
    "timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir",
)  # fmt: skip


def bare():
    """Give the environment without any setting of pip and Python."""
    return dict(each for each in os.environ.items() if not each[0].startswith(("PIP_", "PYTHON")))


def for_pip():
    """Give pip the user's network settings, of its files and variables, and no others."""
    files = {name: os.environ[name] for name in ("PIP_CONFIG_FILE",) if name in os.environ}
    listed = [PYTHON, "-m", "pip", "config", "list", "-vvv"]  # even where a file says quiet
    said = run(listed, "reading the settings of pip", dict(bare(), **files))
    found = dict(re.findall(r"^(?:global|install|download)\.([\w-]+)=(.+)$", said, re.MULTILINE))
    environment = dict(bare(), PIP_CONFIG_FILE=os.devnull)
    for name in NETWORK:
        variable = "PIP_" + name.upper().replace("-", "_")
        value = os.environ.get(variable) or (name in found and ast.literal_eval(found[name]))
        if value:
            environment[variable] = value
    return environment


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

REMEDIES = (
    ("CERTIFICATE_VERIFY_FAILED", "set your company's certificate with PIP_CERT"),
    ("ProxyError", "set or fix HTTPS_PROXY"),
    ("Configuration file", "fix that file"),
    ("No space left", "free some disk space"),
    ("Permission denied", "make the folder writable"),
    ("THESE PACKAGES DO NOT MATCH", "a package changed during the download: try another network"),
    ("Connection", "check the network, or set your mirror with PIP_INDEX_URL"),
    ("No matching distribution", "check the network, or set your mirror with PIP_INDEX_URL"),
)


def run(command, doing, environment=None):
    """Run a command quietly and give its words; where it fails, end with what to do in a line."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment or bare(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode == 0:
        return said
    lines = [line.strip() for line in said.splitlines() if "ERROR" in line or "rror:" in line]
    last = lines[-1] if lines else " ".join(said.split()) or "no word"
    remedy = next((what for sign, what in REMEDIES if sign in said), "fix that and run it again")
    sys.exit("%s failed: %s; %s" % (doing, last[:300], remedy))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; run it again to continue")
