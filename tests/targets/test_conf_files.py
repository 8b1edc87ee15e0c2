"""The files in `conf/`: valid contents, and errors for everything else."""

import json
import os
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from clickstream import tls
from clickstream.errors import ConfigError, shown
from clickstream.settings import CLONE
from clickstream.targets import conf_files, target
from tests.support.errors import raises_shown
from tests.support.secured import Authority
from tests.support.terminal import clickstream

KAFKA = {
    "bootstrap.servers": "kafka.example.com:9092",
    "sasl.username": "ada",
    "sasl.password": "hush-kafka",
}
OPENSEARCH = {"host": "search.example.com", "username": "ada", "password": "hush-search"}


def written(folder: Path, kafka: object = None, opensearch: object = None) -> Path:
    """Write both private files: text unchanged, values merged into the default."""
    for name, default, given in (
        (conf_files.KAFKA, KAFKA, kafka),
        (conf_files.OPENSEARCH, OPENSEARCH, opensearch),
    ):
        values = {**default, **(given if isinstance(given, dict) else {})}
        text = json.dumps({key: value for key, value in values.items() if value is not None})
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(given if isinstance(given, str) else text)
    return folder


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Issues certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


def test_the_two_files_name_a_target(tmp_path: Path) -> None:
    """A bare host means https, a user means SCRAM over TLS, and names have their defaults."""
    found = conf_files.read(written(tmp_path))
    assert found.target == "hosted"
    assert found.opensearch.url == "https://search.example.com"
    assert found.opensearch.index == found.kafka.topic == "clickstream-events"
    config = found.kafka.client_config()
    assert config["security.protocol"] == "SASL_SSL"
    assert config["sasl.mechanisms"] == "SCRAM-SHA-256"
    assert config["sasl.password"] == "hush-kafka"


def test_the_usual_three_files_are_mtls(tmp_path: Path, authority: Authority) -> None:
    """`ca.pem`, `service.cert` and `service.key` beside kafka.json are used without a key in it."""
    cert, key = authority.issue("ada")
    for path, name in ((authority.ca, "ca.pem"), (cert, "service.cert"), (key, "service.key")):
        (tmp_path / name).write_bytes(path.read_bytes())
    (tmp_path / "service.key").chmod(0o600)
    kafka = {"sasl.username": None, "sasl.password": None}
    config = conf_files.read(written(tmp_path, kafka)).kafka.client_config()
    assert config["security.protocol"] == "SSL"
    assert config["ssl.key.location"] == str(tmp_path / "service.key")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("search.example.com", "https://search.example.com"),
        ("search.example.com:9243", "https://search.example.com:9243"),
        ("https://search.example.com:9243/", "https://search.example.com:9243"),
        ("http://127.0.0.1:9200", "http://127.0.0.1:9200"),
    ],
)
def test_a_host_is_written_in_any_of_three_ways(tmp_path: Path, host: str, url: str) -> None:
    """A host may be a URL, a name with a port, or a bare name."""
    assert conf_files.read(written(tmp_path, None, {"host": host})).opensearch.url == url


@pytest.mark.parametrize(
    ("kafka", "opensearch", "said"),
    [
        ("{", None, r"kafka.json is not valid JSON: .* in line 1"),
        ('{"sasl.password": "hush", }', None, r"kafka.json is not valid JSON: .* in line 1"),
        (None, {"host": "https://x:0"}, r"'host' has an invalid port; write one address"),
        (None, {"host": "https://x:99999"}, r"'host' has an invalid port"),
        (None, {"host": "x:0"}, r"'host' has an invalid port"),
        (None, {"host": "https://x :9200"}, r"'host' contains a blank; write one address, https:"),
        (None, {"host": "http://x :9200"}, r"'host' contains a blank"),
        (None, {"host": "x:9200,y:9200"}, r"'host' contains ','"),
        (None, {"host": "https://x:9200;https://y:9200"}, r"'host' contains ';'"),
        (None, {"host": "https://:9200"}, r"'host' is not a valid address"),
        (None, {"host": "https://x#part"}, r"'host' is not a valid address"),
        ("[]", None, r"kafka.json is not a JSON object; write it as"),
        (
            {"bootstrap.server": "x:1"},
            None,
            r"'bootstrap.server'; did you mean 'bootstrap.servers'",
        ),
        ({"group.id": "mine"}, None, r"unknown key 'group.id'.*; valid: bootstrap.servers, "),
        ("[" * 100_000, None, r"kafka.json is not valid JSON"),
        ({"topic": 5}, None, r"'topic' is not a string; "),
        ({"topic": ""}, None, r"'topic' is empty; "),
        ({"topic": ".."}, None, r"'topic' '\.\.' is not a valid name; "),
        ('{"topic": "a", "topic": "b"}', None, r"'topic' appears more than once; "),
        ({"bootstrap.servers": "x:1,ada:hush@y:2"}, None, r"'bootstrap.servers' contains a user; "),
        ({"bootstrap.servers": "SASL_SSL://x:1"}, None, r"write only NAME:PORT"),
        ({"bootstrap.servers": "x:1;y:2"}, None, r"contains ';'; write NAME:PORT, and ',' between"),
        ({"bootstrap.servers": "x:1 y:2"}, None, r"'bootstrap.servers' contains a blank"),
        ({"bootstrap.servers": "x :1"}, None, r"'bootstrap.servers' contains a blank"),
        ({"bootstrap.servers": ","}, None, r"'bootstrap.servers' '' is not a valid address"),
        (
            {"bootstrap.servers": "127.0.0.1", "security.protocol": "PLAINTEXT"},
            None,
            r"kafka.json: 'bootstrap.servers' '127.0.0.1' has no port; write NAME:PORT",
        ),
        ('{"ssl.ca.location": "C:\\Users"}', None, r"not valid JSON: .*: write each \\ twice; "),
        (None, {"index": "Clickstream"}, r"is not a valid name; use lower-case letters"),
        (None, {"host": "https://x/_dashboards"}, r"'host' contains a path; "),
        ({"topic": "a\nb"}, None, r"'topic' contains a line break"),
        ({"topic": "*"}, None, r"'topic' '\*' is not a valid name; "),
        (None, {"index": "clickstream-*"}, r"'index' 'clickstream-\*' is not a valid name; "),
        (None, {"index": "a,b"}, r"'index' 'a,b' is not a valid name; "),
        (None, {"index": "_all"}, r"'index' '_all' is not a valid name; "),
        (None, {"password": "\ud800"}, r"'password' contains a line break or another"),
        (
            {"bootstrap.servers": None},
            None,
            r"is missing; add it, or set CLICKSTREAM_KAFKA_BOOT",
        ),
        (
            {"sasl.password": None},
            None,
            r"'sasl.password' is missing; .* CLICKSTREAM_KAFKA_SASL_PASSWORD",
        ),
        ({"enable.ssl.certificate.verification": "false"}, None, r"would turn off verification"),
        ({"ssl.endpoint.identification.algorithm": "none"}, None, r"the name is always verified"),
        ({"security.protocol": "TLS"}, None, r"valid: SSL, SASL_SSL"),
        ({"security.protocol": "SASL_PLAINTEXT"}, None, r"everything unencrypted"),
        ({"security.protocol": "PLAINTEXT"}, None, r"PLAINTEXT does not use 'sasl.username'; "),
        (
            {"security.protocol": "PLAINTEXT", "sasl.username": None, "sasl.password": None},
            None,
            r"everything unencrypted",
        ),
        (
            {"security.protocol": "SASL_PLAINTEXT", "ssl.ca.location": "ca.pem"},
            None,
            r"PLAINTEXT does not use 'ssl.ca.location'",
        ),
        ({"sasl.username": None, "sasl.password": None}, None, r"has no security settings; put"),
        ({"ssl.ca.location": "none.pem"}, None, r"none.pem: No such file"),
        ({"ssl.ca.location": "~no-such-user/ca.pem"}, None, r"~no-such-user/ca.pem: No such file"),
        (None, {"ca": "~no-such-user/ca.pem"}, r"~no-such-user/ca.pem: No such file"),
        (None, {"user": "ada"}, r"unknown key 'user'; did you mean 'username'"),
        (None, {"host": None}, r"'host' is missing"),
        (None, {"host": "ftp://x"}, r"'host' is not a valid address"),
        (None, {"host": "https://x:port"}, r"'host' has an invalid port"),
        (None, {"host": "https://ada:hush-url@x"}, r"'host' contains a user"),
        (
            None,
            {"host": "http://search.example.com"},
            r"everything would be sent unencrypted.*; use https",
        ),
        (None, {"host": "http://127.0.0.1"}, r"has no port; "),
        (
            None,
            {"password": None},
            r"'username' without 'password'; .* CLICKSTREAM_OPENSEARCH_PASSWORD",
        ),
        (None, {"cert": "a.cert"}, r"'cert' without 'key'"),
        (
            None,
            {"host": "http://127.0.0.1:1", "ca": "ca.pem"},
            r"'ca', 'cert' and 'key' are for https",
        ),
        (None, {"host": "HTTP://127.0.0.1:1", "ca": "ca.pem"}, r"and 'key' are for https"),
    ],
)
def test_what_is_wrong_is_one_line_without_a_secret(
    tmp_path: Path, kafka: object, opensearch: object, said: str
) -> None:
    """It names file, key and remedy."""
    with raises_shown(ConfigError, match=said) as refused:
        conf_files.read(written(tmp_path, kafka, opensearch))
    assert "\n" not in shown(refused.value)
    assert refused.value.hints, "without a remedy"
    assert "hush" not in "".join(traceback.format_exception(refused.value))


def test_what_harms_nothing_is_taken(tmp_path: Path, authority: Authority) -> None:
    """A byte order mark, extra spaces and commas, and `~` are accepted."""
    folder = written(
        tmp_path,
        {"bootstrap.servers": " a:1, b:2,"},
        {"host": " https://x:1 ", "ca": f"~/{authority.ca.name}"},
    )
    for name in (conf_files.KAFKA, conf_files.OPENSEARCH):
        (folder / name).write_text((folder / name).read_text(), "utf-8-sig")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(authority.ca.parent))
        found = conf_files.read(folder)
    assert found.kafka.bootstrap_servers == "a:1,b:2"
    assert (found.opensearch.url, found.opensearch.ca) == ("https://x:1", authority.ca)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A broken link is an unreadable file, not a missing one."""
    folder = written(tmp_path)
    path = folder / conf_files.KAFKA
    path.write_bytes(path.read_text().encode("utf-16"))
    with raises_shown(ConfigError, match=r"kafka.json: it is not UTF-8; save it as UTF-8"):
        conf_files.read(folder)
    path.unlink()
    path.symlink_to(folder / "gone.json")
    with pytest.raises(ConfigError, match=r"reading .*kafka.json: No such file"):
        conf_files.read(folder)


def test_half_a_target_is_told(tmp_path: Path) -> None:
    """With only one file, the error shows the other one filled in."""
    written(tmp_path)
    (tmp_path / "kafka.json").unlink()
    with raises_shown(ConfigError, match=r"no kafka.json; .* such as \{\"bootstrap.servers\""):
        conf_files.is_configured(tmp_path)
    (tmp_path / "opensearch.json").unlink()
    assert not conf_files.is_configured(tmp_path)
    with raises_shown(ConfigError, match="README"):
        conf_files.read(tmp_path)


def test_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment variable overrides or adds a value."""
    monkeypatch.setenv("CLICKSTREAM_OPENSEARCH_PASSWORD", "from-outside")
    monkeypatch.setenv("CLICKSTREAM_KAFKA_SASL_PASSWORD", "from-outside-too")
    monkeypatch.setenv("CLICKSTREAM_KAFKA_SASL_USERNAME", "")
    found = conf_files.read(written(tmp_path, {"sasl.password": None}))
    assert found.opensearch.password == "from-outside"
    assert found.kafka.security["sasl.password"] == "from-outside-too"
    assert found.kafka.security["sasl.username"] == "ada", "what is empty replaces nothing"


def test_a_mistyped_variable_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt variable is an error, so that a password is not silently missing."""
    monkeypatch.setenv("CLICKSTREAM_KAFKA_SASL_PASWORD", "hush")
    with raises_shown(ConfigError, match=r"unknown variable .*; did you mean .*PASSWORD'"):
        conf_files.read(written(tmp_path))
    monkeypatch.delenv("CLICKSTREAM_KAFKA_SASL_PASWORD")
    monkeypatch.setenv("CLICKSTREAM_OPENSEACH_PASSWORD", "hush")
    with pytest.raises(ConfigError, match=r"unknown variable CLICKSTREAM_OPENSEACH_PASSWORD"):
        conf_files.read(written(tmp_path))


def test_a_certificate_needs_its_key_and_no_ca_of_its_own(
    tmp_path: Path, authority: Authority
) -> None:
    """Without `ca.pem` the system's CAs apply; one of certificate and key alone is an error."""
    folder = written(tmp_path, {"sasl.username": None, "sasl.password": None})
    cert, key = authority.issue("ada")
    (folder / "service.cert").write_bytes(cert.read_bytes())
    with raises_shown(ConfigError, match=r"has no security settings.*service.cert alone"):
        conf_files.read(folder)
    (folder / "service.key").write_bytes(key.read_bytes())
    security = conf_files.read(folder).kafka.security
    assert security["security.protocol"] == "SSL"
    assert "ssl.ca.location" not in security


def refused(tmp_path: Path, *words: str) -> str:
    """Return the stderr of a failing command, without servers."""
    done = clickstream(os.environ | {"CLICKSTREAM_STATE": str(tmp_path / "state")}, *words)
    assert done.returncode == 1
    return done.stderr


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A missing folder is an error, so that a mistyped one does not select local servers.

    Commands that do not read it show remedies with the same options.
    """
    folder = str(tmp_path / "no where")
    for options, said in (
        (["--conf", folder], "no where does not exist; "),
        (["--conf", folder, "--target", "local"], f"--target local --conf '{folder}' up`"),
        (["--target", "local"], "--target local up`"),
    ):
        assert said in refused(tmp_path, *options, "peek")


def test_an_error_names_the_file_that_was_read(tmp_path: Path) -> None:
    """An error names the file that was read, not that of the default folder."""
    folder = written(tmp_path, {"bootstrap.servers": "a..b:1"})
    told = refused(tmp_path, "--conf", str(folder), "status")
    assert f"unknown host 'a..b'; fix it in {folder}/kafka.json" in told


def test_a_proxy_off_this_machine_gets_no_password_in_the_clear(tmp_path: Path) -> None:
    """A password is never sent over plain http to another machine, however it is named."""
    found = conf_files.read(written(tmp_path))
    near = found.named(topic=None, index=None, opensearch="http://127.0.0.1:9200")
    assert near.opensearch.url == "http://127.0.0.1:9200"
    with raises_shown(ConfigError, match=r"would be sent unencrypted.*; use https://"):
        found.named(topic=None, index=None, opensearch="http://search.example.com:9200")


def test_no_form_of_the_settings_shows_a_secret(tmp_path: Path) -> None:
    """No repr or str of the settings, or a part of them, shows a secret."""
    found = conf_files.read(written(tmp_path))
    for each in (found, found.kafka, found.opensearch):
        assert "hush" not in repr(each) + str(each)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_files_that_others_can_read_are_told(tmp_path: Path) -> None:
    """Readable files with secrets are reported with a chmod; others may be readable."""
    folder = written(tmp_path, None, {"password": None, "username": None})
    for name in (conf_files.KAFKA, conf_files.OPENSEARCH):
        (folder / name).chmod(0o644)
    settings = conf_files.read(folder)
    path = folder / "kafka.json"
    assert conf_files.readable_by_others(folder, settings) == [path]
    assert conf_files.chmod_remedy([path, folder]) == f"run `chmod 600 {path} {folder}`"
    path.chmod(0o640)
    assert conf_files.readable_by_others(folder, settings) == [path]
    path.chmod(0o600)
    assert conf_files.readable_by_others(folder, settings) == []


def test_files_that_are_no_certificates_are_told(tmp_path: Path, authority: Authority) -> None:
    """Errors distinguish a file that is not PEM, a wrong key, and an encrypted key."""
    cert, key = authority.issue("ada")
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(ConfigError, match="contains no CA certificate"):
        tls.context(tmp_path / "text", None, None)
    with pytest.raises(ConfigError, match="one of them is not a PEM file"):
        tls.context(None, cert, tmp_path / "text")
    with raises_shown(ConfigError, match="are swapped; swap their names"):
        tls.context(None, key, cert)
    private = load_pem_private_key(key.read_bytes(), None)
    secret = BestAvailableEncryption(b"hush")
    (tmp_path / "locked").write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)
    )
    for password in (None, "other", "x" * 2_000):
        with pytest.raises(ConfigError, match="is encrypted, and its password"):
            tls.context(None, cert, tmp_path / "locked", password)
    assert tls.context(None, cert, tmp_path / "locked", "hush")
    with pytest.raises(ConfigError, match="do not match"):
        tls.context(None, cert, authority.issue("ada")[1])
    assert tls.context(authority.ca, cert, key).check_hostname


def test_the_examples_are_good(tmp_path: Path) -> None:
    """The example files are valid, apart from their addresses."""
    for name in (conf_files.KAFKA, conf_files.OPENSEARCH):
        (tmp_path / name).write_text((CLONE / "conf" / f"{name}.example").read_text())
        (tmp_path / name).chmod(0o600)
    assert conf_files.read(tmp_path).opensearch.url == "https://search.example.com:9200"


def test_a_kernel_needs_the_whole_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel needs an absolute path, because it runs in another folder."""
    monkeypatch.setenv("CLICKSTREAM_TARGET", "hosted")
    for folder in ("", "conf"):
        monkeypatch.setenv("CLICKSTREAM_CONF", folder)
        with pytest.raises(ConfigError, match="requires the absolute path of a folder"):
            target.from_environment()
    monkeypatch.setenv("CLICKSTREAM_CONF", "~/conf")
    assert target.from_environment().folder == Path.home() / "conf"
