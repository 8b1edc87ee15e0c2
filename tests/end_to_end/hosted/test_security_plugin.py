"""OpenSearch's security plugin: the documented roles suffice; a refusal names what is missing."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import nbformat
import pytest
import yaml

from clickstream.cli import jupyter
from clickstream.demo import history, target_checks
from clickstream.errors import ClickstreamError, shown
from clickstream.kafka import topics
from clickstream.opensearch import bulk, client, index
from clickstream.settings import OpenSearchSettings, Settings
from clickstream.targets import target
from scripts.headless import NotebookClient
from tests.support import security_plugin, terminal
from tests.support.proxied import action
from tests.support.secured import EXPIRED, Authority
from tests.support.security_plugin import SecuredOpenSearch

# The first test also waits until the server has started.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROLES: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[3] / "docs" / "opensearch-roles.yml").read_text()
)
PASSWORD = "Ink+päper/on=Mondays"


@pytest.fixture(scope="module")
def plugin(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[SecuredOpenSearch]:
    """An OpenSearch with the documented roles, and two users: one may reset, the other not."""
    with security_plugin.opensearch(tmp_path_factory.mktemp("plugin"), authority) as running:
        for name, role in ROLES.items():
            running.add_role(name, role)
        running.add_user("presenter", PASSWORD, "clickstream")
        running.add_user("resetter", PASSWORD, "clickstream", "clickstream-reset")
        yield running


@pytest.fixture
def ours(plugin: SecuredOpenSearch, authority: Authority, fresh: Settings) -> Iterator[Settings]:
    """The presenter's settings, with a topic and an index that somebody else created."""
    name = fresh.opensearch.index
    topics.ensure_topics(fresh.kafka)
    index.ensure(plugin.admin, name)
    url = f"https://localhost:{plugin.port}"
    yield replace(
        fresh,
        opensearch=OpenSearchSettings(
            *(url, name), username="presenter", password=PASSWORD, ca=authority.ca, is_hosted=True
        ),
    )
    index.delete(plugin.admin, name)


@pytest.fixture
def environment(ours: Settings, authority: Authority, tmp_path: Path) -> dict[str, str]:
    """The environment of commands and kernels that use the presenter's `conf/` folder."""
    shutil.copy(authority.ca, tmp_path / "ca.pem")
    kafka = {"bootstrap.servers": ours.kafka.bootstrap_servers, "security.protocol": "PLAINTEXT"}
    login = {"username": "presenter", "password": PASSWORD, "ca": "ca.pem"}
    opensearch = {"host": ours.opensearch.url, **login}
    for name, values in (("kafka", kafka), ("opensearch", opensearch)):
        (tmp_path / f"{name}.json").touch(mode=0o600)
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
    namespace = ours.kafka.topic.removeprefix("clickstream-events-")
    chosen = target.choose(tmp_path).environment
    return {**os.environ, **chosen, "CLICKSTREAM_NAMESPACE": namespace}


Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Run a command as the presenter or another user; its output never has the password."""

    def run_one(*words: str, user: str = "presenter", code: int = 0) -> CompletedProcess[str]:
        done = terminal.clickstream(environment | {"CLICKSTREAM_OPENSEARCH_USERNAME": user}, *words)
        assert done.returncode == code, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done

    return run_one


def use(settings: Settings) -> None:
    """Ask OpenSearch for everything that commands and notebooks ask it for."""
    name, asking = settings.opensearch.index, client.connect(settings.opensearch)
    try:
        with client.translated_errors(asking, "asking OpenSearch for its version"):
            asking.info()
        index.ensure(asking, name)
        bulk.send(asking, name, [action(1)])
        index.refresh(asking, name)
        index.newest(asking, name)
        index.write_facts(asking, name, {"history_ms": None})
        index.ids(asking, name)
    finally:
        asking.close()


def refusal(settings: Settings, work: Callable[[Settings], object] = use) -> str:
    """Return the error of `work` as it is shown: one line with a remedy, and without a secret."""
    with pytest.raises(ClickstreamError) as refused:
        work(settings)
    line = shown(refused.value)
    print(line)
    assert "\n" not in line
    assert refused.value.hints, "without a remedy"
    assert PASSWORD not in line
    return line


def missing(line: str) -> list[str]:
    """The permissions that a line names."""
    return re.findall(r"(?:cluster|indices):[\w:/]+(?:\[s\])?", line)


def granted(role: dict[str, Any]) -> list[list[str]]:
    """The lists of permissions in a role, for the cluster and for the index."""
    for_index = [part["allowed_actions"] for part in role.get("index_permissions", [])]
    return [role.get("cluster_permissions", []), *for_index]


def left_out(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each permission of a documented role, and the role without it."""
    for place, permissions in enumerate(granted(ROLES[name])):
        for each in permissions:
            changed = deepcopy(ROLES[name])
            granted(changed)[place].remove(each)
            yield each, changed


def test_the_commands_work_with_the_documented_role(
    run: Run, ours: Settings, tmp_path: Path
) -> None:
    """Produce, consume, status, charts and check work; reset needs its own role, and says so."""
    run("produce", "--events", "300", "--rate", "max")
    assert run("consume", "--until-caught-up").stdout.startswith("300 documents stored")
    run("charts", "--live", "--out", str(tmp_path / "charts"))
    assert list((tmp_path / "charts").glob("*.html"))
    said = run("check").stdout
    assert re.search(r"^ok   OpenSearch's login: as presenter, version 3\.4", said, re.MULTILINE)
    assert re.search(r"^ok   round trip: 10 events", said, re.MULTILINE)

    assert run("reset").stdout.startswith("nothing deleted")
    said = run("reset", "--yes", code=1).stderr.splitlines()[-1]
    assert missing(said) == ["indices:data/write/delete/byquery"]
    assert "docs/hosted.md" in said
    facts = json.loads(run("status", "--json").stdout)
    assert (facts["messages"], facts["documents"]) == (310, 310)
    run("reset", "--yes", user="resetter")
    facts = json.loads(run("status", "--json").stdout)
    assert (facts["messages"], facts["documents"]) == (0, 0)


@pytest.mark.parametrize("name", ["00-start-here", "05-ask-questions"])
def test_a_notebook_runs_with_the_documented_role(
    environment: dict[str, str], ours: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Without a change, and without the password on the page."""
    if name.startswith("05"):
        # A cell gives up after ten seconds without an answer, which a busy machine may need.
        history.load(ours)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(jupyter.NOTEBOOKS / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()

    assert "target hosted: Kafka on " in str(notebook.cells)
    assert PASSWORD not in nbformat.writes(notebook)


def test_each_permission_of_the_role_is_needed_and_named(
    plugin: SecuredOpenSearch, ours: Settings
) -> None:
    """Without any one of them an error names it, and the page that lists all."""
    as_trial = replace(ours, opensearch=replace(ours.opensearch, username="trial"))
    plugin.add_role("trial", ROLES["clickstream"])
    plugin.add_user("trial", PASSWORD, "trial")
    use(as_trial)
    for permission, role in left_out("clickstream"):
        plugin.add_role("trial", role)
        line = refusal(as_trial)
        assert any(fnmatchcase(each, permission) for each in missing(line)), permission
        assert "docs/hosted.md" in line


def test_the_check_names_a_permission_for_shards(plugin: SecuredOpenSearch, ours: Settings) -> None:
    """The right to refresh an index is not the right to refresh its shards."""
    role = deepcopy(ROLES["clickstream"])
    actions = role["index_permissions"][0]["allowed_actions"]
    actions[actions.index("indices:admin/refresh*")] = "indices:admin/refresh"
    plugin.add_role("trial", role)
    plugin.add_user("trial", PASSWORD, "trial")
    line = refusal(replace(ours, opensearch=replace(ours.opensearch, username="trial")))
    assert missing(line) == ["indices:admin/refresh[s]"]
    assert "{" not in line, "the reason, and not the JSON around it"


def test_the_index_is_created_with_the_documented_role(
    plugin: SecuredOpenSearch, ours: Settings
) -> None:
    """Without any permission of that role an error names it; with all of them the kit works."""
    index.delete(plugin.admin, ours.opensearch.index)
    as_trial = replace(ours, opensearch=replace(ours.opensearch, username="trial"))
    plugin.add_role("trial", {"cluster_permissions": []})
    plugin.add_user("trial", PASSWORD, "trial", "clickstream")
    for permission, role in left_out("clickstream-create"):
        plugin.add_role("trial", role)
        line = refusal(as_trial)
        assert missing(line) == [permission]
        assert "fix 'index' in" in line
        assert "docs/hosted.md" in line
    plugin.add_role("trial", ROLES["clickstream-create"])
    use(as_trial)


def test_an_overriding_template_is_named_with_the_documented_role(
    plugin: SecuredOpenSearch, ours: Settings
) -> None:
    """Both permissions of that role are needed; without them such a template goes unnoticed."""
    name, indices = ours.opensearch.index, plugin.admin.indices
    index.delete(plugin.admin, name)
    other = {"index_patterns": [name], "priority": 900, "data_stream": {}, "template": {}}
    indices.put_index_template(name=f"{name}-other", body=other)
    as_trial = replace(ours, opensearch=replace(ours.opensearch, username="trial"))
    plugin.add_role("trial", ROLES["clickstream-templates"])
    plugin.add_user("trial", PASSWORD, "trial", "clickstream", "clickstream-create")
    try:
        assert f"{name}-other" in refusal(as_trial)
        assert not indices.exists(index=name)
        for _, role in left_out("clickstream-templates"):
            plugin.add_role("trial", role)
            with pytest.raises(ClickstreamError) as unseen:
                use(as_trial)
            print(shown(unseen.value))
            assert f"{name}-other" not in str(unseen.value)
            index.delete(plugin.admin, name)
    finally:
        indices.delete_index_template(name=f"{name}-other")


def test_a_refused_reset_deletes_no_document(plugin: SecuredOpenSearch, ours: Settings) -> None:
    """Without any permission of the role for it; with all of them every document is deleted."""
    use(ours)
    as_trial = replace(ours, opensearch=replace(ours.opensearch, username="trial"))
    plugin.add_role("trial", {"cluster_permissions": []})
    plugin.add_user("trial", PASSWORD, "trial", "clickstream")
    asking, name = client.connect(as_trial.opensearch), ours.opensearch.index
    for permission, role in left_out("clickstream-reset"):
        plugin.add_role("trial", role)
        line = refusal(as_trial, lambda _: index.empty(asking, name))
        assert permission in missing(line)
        assert index.count(plugin.admin, name) == 1
    plugin.add_role("trial", ROLES["clickstream-reset"])
    index.empty(asking, name)
    assert index.count(plugin.admin, name) == 0
    asking.close()


def test_a_refused_password_is_told_from_a_missing_role(
    plugin: SecuredOpenSearch, ours: Settings
) -> None:
    """Wrong, changed meanwhile, or of an unknown user: one line; without a role: another."""

    def as_user(name: str, password: str = PASSWORD) -> Settings:
        return replace(ours, opensearch=replace(ours.opensearch, username=name, password=password))

    for refused in (as_user("presenter", "not-this-one"), as_user("nobody")):
        assert "wrong or missing user name or password; fix" in refusal(refused)
    plugin.add_user("trial", PASSWORD, "clickstream")
    use(as_user("trial"))
    plugin.add_user("trial", PASSWORD[::-1])
    assert "wrong or missing user name or password; fix" in refusal(as_user("trial"))
    assert missing(refusal(as_user("trial", PASSWORD[::-1]))) == ["cluster:monitor/main"]


def test_a_client_certificate_is_a_login(
    plugin: SecuredOpenSearch, ours: Settings, authority: Authority, stranger: Authority
) -> None:
    """With a role it suffices; of another authority, expired, or without a role it is refused."""

    def with_certificate(of: Authority, **options: Any) -> Settings:
        cert, key = of.issue("certified", **options)
        login = replace(ours.opensearch, username=None, password=None, cert=cert, key=key)
        return replace(ours, opensearch=login)

    assert missing(refusal(with_certificate(authority))) == ["cluster:monitor/main"]
    plugin.give_role("clickstream", "certified")
    use(with_certificate(authority))
    login = target_checks._opensearch_login(with_certificate(authority).opensearch)
    assert login.startswith("by certificate, version 3.4")
    for refused in (with_certificate(stranger), with_certificate(authority, **EXPIRED)):
        assert "TLS with OpenSearch failed: it rejected our certificate" in refusal(refused)
