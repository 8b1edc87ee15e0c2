"""The operations of `Demo` in a terminal: `clickstream COMMAND`, each with `--help`.

`terminal.py` has the code that all commands share. A command imports its modules when it runs, so
that `--help` is fast.
"""

from __future__ import annotations

import math
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clickstream.cli import cache, dead_letters
from clickstream.cli import target as cli_target
from clickstream.cli.terminal import Commands, log_to_stderr, run, say, stopping, wait_for_servers
from clickstream.errors import Command, ConfigError, shown

if TYPE_CHECKING:
    from clickstream.demo.demo import Demo
    from clickstream.settings import Settings

SIMULATION_START = "2026-01-05T00:00:00Z"
"""Default start of `simulate`, a Monday, so that the seed alone determines every byte."""
MOST_DAYS = 36_525
"""A hundred years; more is probably a mistake, and a year has only four digits."""
MOST_USERS = 1_000_000
"""More would take gigabytes of memory."""

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Stream a news site's simulated readers through Kafka into OpenSearch.",
)


def _version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"clickstream {version('clickstream')}")
        raise typer.Exit


@app.callback()
def _options(
    is_asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    wanted: cli_target.TargetOption = None,
    folder: cli_target.FolderOption = None,
) -> None:
    """Handle the global options."""
    cli_target.set_options(wanted, folder)


app.add_typer(cache.app, name="cache")
app.add_typer(dead_letters.app, name="dlq")

Seed = Annotated[int, typer.Option(metavar="N", help="The same seed gives the same readers.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Log each message.")]
Yes = Annotated[bool, typer.Option("--yes", help="Confirm the deletion.")]


def main() -> None:
    """Run `clickstream`."""
    run(app)


def _start_ms(start: str) -> int:
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        msg = f"--start {start!r} is not an ISO 8601 time"
        raise ConfigError(msg, f"write it like {SIMULATION_START}") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if not 1971 <= moment.year < 9900:
        msg = f"--start {start!r}: the year must be between 1971 and 9899"
        raise ConfigError(msg)
    return round(moment.timestamp() * 1000)


@app.command("demo")
def demo_() -> None:
    """Start the servers, make a round trip, and open JupyterLab.

    `make demo` runs this command.
    """
    from clickstream.cli import jupyter
    from clickstream.demo.demo import Demo

    target = cli_target.current()
    kit = Demo(target.up(say=say))
    say(repr(kit))
    if target.is_hosted:
        kit.ensure()
        check()
    else:
        say(str(kit.round_trip()))
    jupyter.run("00-start-here.ipynb", environment=target.environment, say=say)
    if target.is_hosted:
        return
    say("Kafka and OpenSearch are still running, with all data:")
    say("  make status   shows them")
    say("  make down     stops them and keeps the data (`make reset` deletes it)")


@app.command()
def up() -> None:
    """Start Kafka and OpenSearch if they are not running.

    The first start downloads their files.
    """
    target = cli_target.current()
    if target.is_hosted:
        msg = f"{target.folder} configures a hosted target; the kit starts only local servers"
        raise ConfigError(msg, (Command("--target local up"), " starts them"))
    settings = target.up(say=say)
    typer.echo(f"Kafka on {settings.kafka.bootstrap_servers}")
    typer.echo(f"OpenSearch on {settings.opensearch.url}")


@app.command()
def down() -> None:
    """Stop Kafka and OpenSearch; their data is kept."""
    from clickstream.servers import local

    stopped = local.down()
    typer.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the servers, the message and document counts, and the lag."""
    from clickstream.cli import status as status_of
    from clickstream.servers import local

    if not (as_json or cli_target.current().is_hosted):
        for server in local.status():
            typer.echo(str(server))
    found = status_of.ask_servers()
    for line in [found.to_json()] if as_json else found.lines():
        typer.echo(line)
    for error in found.errors.values():
        say(f"clickstream: {shown(error)}")
    if found.errors:
        raise typer.Exit(1)


@app.command()
def prepare() -> None:
    """Download the servers into the cache without starting them."""
    from clickstream.servers import download

    download.ensure_server_files(with_bar=True)
    typer.echo(f"servers are in {download.cache_dir()}")


@app.command()
def fresh() -> None:
    """Replace the working copy of the notebooks.

    The old copy is kept.
    """
    from clickstream.cli import jupyter

    aside = jupyter.replace_copy()
    typer.echo("made a fresh working copy" + (f"; the old one is in {aside}" if aside else ""))


@app.command(hidden=True)
def idle() -> None:
    """Set the exit code: 0 if nothing of this clone is running (for `make clean`)."""
    from clickstream.cli import jupyter
    from clickstream.servers import local

    if (how := jupyter.how_to_end()) is not None:
        msg = "JupyterLab is running in this clone"
        raise ConfigError(msg, how)
    if any(server.pid for server in local.status()):
        msg = "the servers are running"
        raise ConfigError(msg, ("stop them first with ", Command("down")))


@app.command()
def simulate(
    seed: Seed = 1,
    start: Annotated[str, typer.Option(metavar="TIME", help="ISO 8601.")] = SIMULATION_START,
    users: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_USERS, metavar="N", help="Readers in the crowd."),
    ] = None,
    days: Annotated[
        float | None, typer.Option(metavar="N", help="Stop after this many simulated days.")
    ] = None,
    num_events: Annotated[
        int | None,
        typer.Option("--events", min=0, metavar="N", help="Stop after this many events."),
    ] = None,
) -> None:
    """Write events as NDJSON to stdout; no server is needed."""
    from itertools import islice

    from clickstream.events import encode
    from clickstream.simulation.simulator import Simulator

    if days is None and num_events is None:
        days = 1.0
    if days is not None and not 0 <= days <= MOST_DAYS:
        msg = f"--days {days:g}: it must be 0 to {MOST_DAYS:,}"
        raise ConfigError(msg)
    start_ms = _start_ms(start)
    crowd = Simulator(seed=seed, start_ms=start_ms, readers=users)
    until_ms = None if days is None else start_ms + round(days * 86_400_000)
    out = sys.stdout.buffer
    for event in islice(crowd.events(until_ms=until_ms), num_events):
        out.write(encode(event) + b"\n")
    out.flush()


@app.command("scenarios")
def scenarios_() -> None:
    """List the scenarios for `produce --scenario`.

    It shows the effect of each, and its keys with their defaults and valid values.
    """
    from clickstream.simulation.scenario_base import Number
    from clickstream.simulation.scenarios import SCENARIOS

    for name, scenario in SCENARIOS.items():
        typer.echo(f"{name}: {scenario.what}")
        typer.echo(f"    watch {scenario.watch}")
        for key, kind in scenario.keys.items():
            default = f"{kind.default:g}" if isinstance(kind, Number) else kind.default
            typer.echo(f"    {key}={default}  {kind.what}; {kind.valid}")


@app.command()
def produce(
    rate: Annotated[
        str,
        typer.Option(metavar="N|max", help="Events per second, or as fast as Kafka accepts."),
    ] = "20",
    num_events: Annotated[
        int | None,
        typer.Option("--events", min=1, metavar="N", help="Stop after this many events."),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Stop after this time.")
    ] = None,
    seed: Seed = 1,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="ISO 8601; the default is now.")
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:KEY=VALUE,…]", help="Run a scenario; repeatable. See `scenarios`."
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Simulate readers and send their events to the topic.

    It runs until interrupted, unless --events or --duration is set. It needs only Kafka.
    """
    from random import Random

    from clickstream import producer
    from clickstream.simulation.pacing import Pace, PacedEvents, parse_rate
    from clickstream.simulation.scenarios import make_all
    from clickstream.simulation.simulator import Simulator
    from clickstream.simulation.traffic import Traffic

    if duration is not None and not 0 < duration < math.inf:
        msg = f"--duration {duration:g}: it must be more than 0, and finite"
        raise ConfigError(msg)
    pace = Pace(parse_rate(rate), rng=Random(seed))
    plays = make_all(scenario or [])
    kafka = cli_target.find(need=["kafka"]).kafka
    log_to_stderr(verbose)
    now_ms = int(time.time() * 1000)
    start_ms = now_ms if start is None else _start_ms(start)
    if start_ms > now_ms:
        msg = f"--start {start} is in the future"
        raise ConfigError(msg, "use an earlier time")
    traffic = Traffic(Simulator(seed=seed, start_ms=start_ms, live_from_ms=now_ms))
    for play in plays:
        traffic.start(play)
    with stopping() as stop:
        report = producer.produce(
            kafka,
            PacedEvents(traffic, pace, num_events=num_events),
            duration_s=duration,
            stop=stop,
        )
    typer.echo(str(report))


@app.command()
def consume(
    group: Annotated[str | None, typer.Option(metavar="NAME", help="Consumer group.")] = None,
    until_caught_up: Annotated[bool, typer.Option(help="Stop when the lag is 0.")] = False,
    flood_guard: Annotated[
        bool, typer.Option(help="Stop if too many messages are invalid.")
    ] = True,
    topic: Annotated[str | None, typer.Option(hidden=True)] = None,
    index: Annotated[str | None, typer.Option(hidden=True)] = None,
    opensearch: Annotated[str | None, typer.Option(hidden=True, help="A proxy's URL.")] = None,
    verbose: Verbose = False,
) -> None:
    """Index the topic's messages until interrupted.

    It waits for a server that is down.
    """
    from clickstream import consumer
    from clickstream.demo.demo import Demo

    log_to_stderr(verbose)
    cli_target.find(need=cli_target.never_started())

    def ready() -> Settings:
        settings = cli_target.current().find()
        settings = settings.for_group(group) if group else settings
        settings = settings.named(topic=topic, index=index, opensearch=opensearch)
        Demo(settings).ensure()
        return settings

    with stopping() as stop:
        settings = wait_for_servers(ready, stop)
        if settings is None:
            return
        report = consumer.index_topic(
            settings, until_caught_up=until_caught_up, flood_guard=flood_guard, stop=stop
        )
    typer.echo(str(report))


@app.command()
def peek(
    n: Annotated[int, typer.Option("-n", min=1, metavar="N", help="Number of messages.")] = 10,
) -> None:
    """Show the newest messages of the topic."""
    from clickstream.kafka import messages

    kafka = cli_target.find(need=["kafka"]).kafka
    for message in messages.peek(kafka, n):
        key, value = messages.printable(message.key or ""), messages.text(message.value or b"")
        typer.echo(f"{message.partition}:{message.offset} {key} {value}")


@app.command("charts")
def charts_(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the page, charts.html.")
    ] = Path("build/charts"),
    live: Annotated[
        bool, typer.Option("--live", help="Draw the last 15 minutes instead of the history.")
    ] = False,
) -> None:
    """Write the charts of the index as one HTML page.

    It opens without a network.
    """
    from clickstream.charts.page import page
    from clickstream.demo.demo import Demo

    out = Path(os.path.expanduser(out))
    kit = Demo(cli_target.find(need=["opensearch"]))
    since, until = _last_minutes(kit) if live else kit.history_window() or (None, None)
    answer = kit.ask(since=since, until=until)
    say(str(answer))
    title = f"{answer.total:,} events of {kit.settings.opensearch.index}"
    path = out / "charts.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(page(title, answer.figures().values()), encoding="utf-8")
    except OSError as error:
        msg = f"writing charts to {out}: {error.strerror}"
        raise ConfigError(msg, "choose another folder with --out") from error
    typer.echo(str(path))


def _last_minutes(kit: Demo) -> tuple[datetime, datetime]:
    """Return the last 15 minutes, or the part with live events: history has another scale."""
    from clickstream.charts.volume import Volume

    # End with a full bucket: a partial one would look like a drop.
    until = datetime.fromtimestamp(time.time() // 10 * 10, UTC)
    since = until - timedelta(minutes=15)
    volume = kit.ask(since=since, until=until).frames[Volume.name]
    return volume["timestamp"][volume["count"] > 0].min() if volume["count"].any() else since, until


@app.command()
def reset(yes: Yes = False) -> None:
    """Empty the topic, dead letters, offsets and index.

    Without --yes it only lists what it would delete.
    """
    from clickstream.demo.demo import Demo

    kit = Demo(cli_target.find())
    if yes and kit.settings.is_hosted:
        say("emptying topic and index; a million documents take about a minute")
    typer.echo(kit.reset(yes=yes, confirm_by="--yes"))


@app.command()
def check() -> None:
    """Check everything that the demo needs.

    It prints one line per check, with a remedy for each problem.
    """
    from clickstream.demo import preflight

    target = cli_target.current()
    say(f"target {target.name}")
    findings = preflight.run(target)
    for finding in findings:
        typer.echo(str(finding))
    if not all(finding.is_good for finding in findings):
        raise typer.Exit(1)
