"""The same verbs in a terminal: `clickstream COMMAND`, each with `--help`.

Exit code 0, or a one-line error with the remedy on stderr and 1 (2 for a wrong option).
Reports go to stdout, progress and logs to stderr, so that output can be piped.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from typer.exceptions import TyperException

from clickstream import (
    charts,
    checks,
    consumer,
    demo,
    events,
    fetch,
    index,
    lab,
    producer,
    queries,
    servers,
    topics,
)
from clickstream.errors import ClickstreamError, ConfigError
from clickstream.settings import Settings
from clickstream.simulator import Simulator

SIMULATION_START = "2026-01-05T00:00:00Z"
"""Where `simulate` begins by default, so that a seed alone fixes every byte: a Monday."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Readers of a news site, through Kafka and OpenSearch, into live charts.",
)


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"clickstream {version('clickstream')}")
        raise typer.Exit


@app.callback()
def _options(
    is_asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    """Take the options of the command itself."""


cache_app = typer.Typer(no_args_is_help=True, help="The cache of servers and wheels.")
app.add_typer(cache_app, name="cache")

Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="One log line a message.")]
Yes = Annotated[bool, typer.Option("--yes", help="Really do it.")]


def main() -> None:
    """Run the command line, and turn an error of ours or a mistyped word into one line."""
    try:
        sys.exit(app(prog_name="clickstream", standalone_mode=False))
    except TyperException as error:
        if said := error.format_message().rstrip("."):  # nothing where the help was shown
            where = getattr(getattr(error, "ctx", None), "command_path", "clickstream")
            typer.echo(f"clickstream: {said}; see `{where} --help`", err=True)
        sys.exit(error.exit_code)
    except ClickstreamError as error:
        sys.exit(f"clickstream: {error}")
    except KeyboardInterrupt:
        sys.exit("clickstream: stopped")
    except BrokenPipeError:
        # `| head` had enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _settings() -> Settings:
    """Find the running pair; hosted targets are not part of this version."""
    _refuse_hosted()
    return servers.find()


def _refuse_hosted() -> None:
    folder = Path(os.environ.get("CLICKSTREAM_CONF", "conf"))
    for name in ("kafka.json", "opensearch.json"):
        if (folder / name).exists():
            msg = (
                f"{folder / name} names a hosted service, which this version cannot use yet; "
                "move the file away to go on with the local servers"
            )
            raise ConfigError(msg)


def _log_to_stderr(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("opensearch", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set, for the length of the block."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start_ms(start: str) -> int:
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        msg = f"--start {start!r} is no ISO 8601 time; write it as {SIMULATION_START}"
        raise ConfigError(msg) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


@app.command("demo")
def demo_() -> None:
    """Start the servers, prove them by a round trip, and open JupyterLab (`make demo`)."""
    _refuse_hosted()
    settings = servers.up(progress=_say)
    _say(str(demo.Demo(settings).round_trip()))
    lab.run("00-start-here.ipynb", environment={}, say=_say)
    _say("Kafka and OpenSearch are still up, with all their data:")
    _say("  make status   shows them")
    _say("  make down     stops them (data stays; `make reset` empties topic and index)")


@app.command()
def up() -> None:
    """Start Kafka and OpenSearch where they are not up yet; fetch them the first time."""
    settings = servers.up(progress=_say)
    typer.echo(f"Kafka on {settings.kafka.bootstrap_servers}")
    typer.echo(f"OpenSearch on {settings.opensearch.url}")


@app.command()
def down() -> None:
    """Stop Kafka and OpenSearch; what is in them stays."""
    stopped = servers.down()
    typer.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Say how the servers are, and how much lies where."""
    found = servers.status()
    try:
        settings = _settings()
        kit = demo.Demo(settings)
        kit.ensure()
        overview = kit.overview()
    except ClickstreamError as error:
        if as_json or isinstance(error, ConfigError):
            raise
        _print_servers(found)
        raise
    if not as_json:
        _print_servers(found)
        typer.echo(repr(kit))
        typer.echo(str(overview))
        return
    facts = {
        "target": settings.target,
        "kafka": {"bootstrap_servers": settings.kafka.bootstrap_servers},
        "opensearch": {"url": settings.opensearch.url},
        "topic": settings.kafka.topic,
        "index": settings.opensearch.index,
        "messages": overview.messages,
        "documents": overview.documents,
        "dead_letters": overview.dead_letters,
        "lag": overview.lag,
    }
    typer.echo(json.dumps(facts))


def _print_servers(found: tuple[servers.ServerStatus, ...]) -> None:
    for server in found:
        typer.echo(str(server))


@app.command()
def prepare() -> None:
    """Fetch the servers into the cache, and start nothing."""
    fetch.ensure_server_files(progress=True)
    typer.echo(f"servers are in {fetch.cache_dir()}")


@cache_app.command("clear")
def cache_clear() -> None:
    """Empty the cache of servers and wheels."""
    freed = fetch.clear_cache()
    typer.echo(f"freed {freed / 1e6:,.0f} MB in {fetch.cache_dir()}")


@app.command()
def fresh() -> None:
    """Renew the working copy of the notebooks; the old one is kept aside."""
    aside = lab.renew()
    typer.echo("the working copy is new" + (f"; the old one is in {aside}" if aside else ""))


@app.command(hidden=True)
def idle() -> None:
    """Say with the exit code whether nothing of this clone's is in use (`make clean`)."""
    if lab.is_running():
        msg = "JupyterLab is running on this clone; end it with Ctrl-C first"
        raise ConfigError(msg)
    if any(server.pid for server in servers.status()):
        msg = "the servers are up; stop them with `make down` first"
        raise ConfigError(msg)


@app.command()
def simulate(
    seed: Annotated[int, typer.Option(help="Chooses the readers and what they do.")] = 1,
    start: Annotated[str, typer.Option(help="ISO 8601.")] = SIMULATION_START,
    users: Annotated[int | None, typer.Option(min=1, help="Readers in the crowd.")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Simulated days.")] = None,
    num_events: Annotated[int | None, typer.Option("--events", min=0)] = None,
) -> None:
    """Write events as NDJSON to stdout; needs no server."""
    if days is None and num_events is None:
        days = 1.0
    start_ms = _start_ms(start)
    crowd = Simulator(seed=seed, start_ms=start_ms, readers=users)
    until_ms = None if days is None else start_ms + round(days * 86_400_000)
    out = sys.stdout.buffer
    encode = events.encode
    for event in islice(crowd.events(until_ms=until_ms), num_events):
        out.write(encode(event) + b"\n")
    out.flush()


@app.command()
def produce(
    rate: Annotated[str, typer.Option(help="Events per second, or max.")] = "20",
    num_events: Annotated[int | None, typer.Option("--events", min=1)] = None,
    duration: Annotated[float | None, typer.Option(min=0, help="Seconds.")] = None,
    seed: Annotated[int, typer.Option(help="Chooses the readers and what they do.")] = 1,
    start: Annotated[str | None, typer.Option(help="ISO 8601; by default now.")] = None,
    verbose: Verbose = False,
) -> None:
    """Let readers act and send their events to the topic, until interrupted."""
    settings = _settings()
    _log_to_stderr(verbose)
    now_ms = int(time.time() * 1000)
    start_ms = now_ms if start is None else _start_ms(start)
    if start_ms > now_ms:
        msg = f"--start {start} is in the future; no event may be"
        raise ConfigError(msg)
    pace = producer.Pace(_rate(rate), rng=Random(seed))
    topics.ensure_topics(settings.kafka)
    with _stopping() as stop:
        report = producer.produce(
            settings.kafka,
            Simulator(seed=seed, start_ms=start_ms, live_from_ms=now_ms),
            pace=pace,
            num_events=num_events,
            duration_s=duration,
            stop=stop,
        )
    typer.echo(str(report))


def _rate(rate: str) -> float:
    if rate == "max":
        return math.inf
    try:
        return float(rate)
    except ValueError as error:
        msg = f"--rate {rate!r} is neither a number of events per second nor max"
        raise ConfigError(msg) from error


@app.command()
def consume(
    group: Annotated[str | None, typer.Option(help="Consumer group.")] = None,
    until_caught_up: Annotated[bool, typer.Option(help="End when the lag is 0.")] = False,
    verbose: Verbose = False,
) -> None:
    """Index the topic's messages, until interrupted."""
    settings = _settings().for_group(group) if group else _settings()
    _log_to_stderr(verbose)
    topics.ensure_topics(settings.kafka)
    index.ensure_index(index.connect(settings.opensearch), settings.opensearch.index)
    with _stopping() as stop:
        report = consumer.index_topic(settings, until_caught_up=until_caught_up, stop=stop)
    typer.echo(str(report))


@app.command()
def peek(n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 10) -> None:
    """Show the newest messages of the topic."""
    for message in topics.peek(_settings().kafka, n):
        value = (message.value or b"").decode("utf-8", "replace")
        typer.echo(f"{message.partition}:{message.offset} {message.key} {value}")


@app.command("charts")
def charts_(
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("build/charts"),
) -> None:
    """Write the charts of the index as HTML files that open without a network."""
    settings = _settings()
    client = index.connect(settings.opensearch)
    figures = charts.draw(queries.ask(client, settings.opensearch.index))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            figure.write_html(out / f"{name}.html", include_plotlyjs=True)
            typer.echo(str(out / f"{name}.html"))
    except OSError as error:
        msg = f"writing charts to {out}: {error.strerror}; name another folder with --out"
        raise ConfigError(msg) from error


@app.command()
def reset(yes: Yes = False) -> None:
    """Empty topic, dead letters, offsets and index."""
    typer.echo(demo.Demo(_settings()).reset(yes=yes).replace("yes=True", "--yes"))


@app.command()
def check() -> None:
    """Look at everything the demo needs; one line and a remedy per finding."""
    findings = checks.run()
    for finding in findings:
        typer.echo(str(finding))
    if not all(finding.is_good for finding in findings):
        raise typer.Exit(1)
