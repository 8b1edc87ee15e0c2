"""Make .venv with the pinned packages: what every make target does first.

Standard library alone, and syntax that an old Python reads, so that it is told in one line.

    python3 scripts/install.py             the runtime set
    python3 scripts/install.py --dev       the test tools, too
    python3 scripts/install.py --prepare   fetch the wheels into the cache as well
"""

import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
RUNTIME = "requirements.lock"
DEV = "requirements-dev.lock"
# Measured on Linux: the wheels of each lock, and what the servers' list adds up to.
WHEELS_MB = {RUNTIME: 140, DEV: 220}
SERVERS_MB = 205
OLDEST = (3, 11)


def main():
    """Bring .venv to the state that the arguments ask for; quick when it is there already."""
    lock = DEV if "--dev" in sys.argv else RUNTIME
    check_python()
    if not is_ready(lock):
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
    """Name the file that says that .venv holds all of a lock."""
    return os.path.join(VENV, "complete-%s-%s" % (lock, digest(lock)))


def is_ready(lock):
    """Say whether .venv holds the lock; the test set holds the runtime set."""
    return any(os.path.exists(stamp(each)) for each in {lock, DEV})


def cache():
    """Name the folder that all clones share, as clickstream/fetch.py does."""
    if os.environ.get("CLICKSTREAM_CACHE"):
        return os.environ["CLICKSTREAM_CACHE"]
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/clickstream")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "clickstream")


def wheels(lock):
    """Name the folder of a lock's wheels; it exists only when it is complete."""
    return os.path.join(cache(), "wheels", "%s-%s" % (lock, digest(lock)))


def say(line):
    """Tell the user what happens, at once."""
    print(line, flush=True)


def install(lock):
    """Make .venv anew where it is not usable, and install the lock and the kit into it."""
    local = wheels(lock) if os.path.isdir(wheels(lock)) else None
    servers = os.path.isdir(os.path.join(cache(), "servers"))
    if local:
        say("Installing the Python packages from %s; nothing to fetch." % local)
    else:
        say(
            "First run: fetching about %d MB of Python packages%s; 1 to 5 minutes, once."
            % (WHEELS_MB[lock], "" if servers else " and %d MB of servers" % SERVERS_MB)
        )
    if not os.path.exists(PYTHON) or subprocess.call([PYTHON, "-m", "pip", "--version"], **QUIET):
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", VENV], "making .venv")
    source = ["--no-index", "--find-links", local] if local else []
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
    say("  packages ...")
    run(pip + ["install", "--require-hashes", "-r", lock] + source, "installing packages")
    say("  the kit itself ...")
    own = ["install", "--no-deps", "--no-build-isolation", "--no-index", "-e", "."]
    run(pip + own, "installing the kit")
    open(stamp(lock), "w").close()
    say("  done: .venv is ready.")


def prepare(lock):
    """Download every wheel of the lock into the cache."""
    folder = wheels(lock)
    if os.path.isdir(folder):
        say("wheels are in %s" % folder)
        return
    say("Fetching about %d MB of wheels into %s ..." % (WHEELS_MB[lock], folder))
    part = folder + ".part"
    os.makedirs(part, exist_ok=True)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
    run(pip + ["--require-hashes", "-r", lock, "-d", part], "fetching wheels")
    os.replace(part, folder)
    say("wheels are in %s" % folder)


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

REMEDIES = (
    ("CERTIFICATE_VERIFY_FAILED", "name your company's certificate with PIP_CERT"),
    ("ProxyError", "set or mend HTTPS_PROXY"),
    ("No space left", "free some disk"),
    ("Permission denied", "make the folder writable"),
    ("THESE PACKAGES DO NOT MATCH", "a package was changed on its way: try another network"),
    ("Connection", "check the network, or name your mirror with PIP_INDEX_URL"),
    ("No matching distribution", "check the network, or name your mirror with PIP_INDEX_URL"),
)


def run(command, doing):
    """Run a command quietly; end with one line that says what to do when it fails."""
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode == 0:
        return
    said = done.stdout.decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if "ERROR" in line or "rror:" in line]
    last = (lines or said.splitlines() or ["no word"])[-1]
    remedy = next((what for sign, what in REMEDIES if sign in said), "then run it again")
    sys.exit("%s failed: %s; %s" % (doing, last[:300], remedy))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; run it again to go on")
