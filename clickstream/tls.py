"""TLS contexts from certificate files, and the reason when a TLS connection fails.

Nothing here can turn verification off.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from clickstream.errors import ConfFile, ConfigError, Hint
from clickstream.settings import OpenSearchSettings


def context(
    ca: Path | None, cert: Path | None, key: Path | None, key_password: str | None = None
) -> ssl.SSLContext:
    """Make a context that verifies the other side and its name.

    Args:
        ca: PEM file of the CA to trust; None for the CAs that the system trusts.
        cert: PEM file of the client certificate, with its chain.
        key: PEM file of its private key.
        key_password: password of an encrypted key.

    Raises:
        ConfigError: a file is missing, unreadable or not PEM, or the key does not match the
            certificate.
    """
    for path in filter(None, (ca, cert, key)):
        try:
            path.read_bytes()
        except OSError as error:
            msg = f"reading {path}: {error.strerror}"
            raise ConfigError(msg, "put the file there, or fix its name in conf") from error
    try:
        made = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except ssl.SSLError as error:
        msg = f"{ca} contains no CA certificate in PEM format"
        raise ConfigError(msg, "download the service's CA again") from error
    if cert is None:
        return made
    try:
        # Without a password OpenSSL would ask for one in the terminal.
        made.load_cert_chain(cert, key, key_password or "")
    except (ssl.SSLError, ValueError) as error:
        pair = f"certificate {cert} and key {key}"
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            msg, hint = f"{pair} do not match", "download both again, for the same user"
        elif key is not None and b"PRIVATE KEY" in cert.read_bytes():
            msg, hint = f"{pair} are swapped", "swap their names"
        elif key is not None and b"ENCRYPTED" in key.read_bytes():
            msg = f"key {key} is encrypted, and its password is missing or wrong"
            hint = (
                "for Kafka, set it as 'ssl.key.password'; for OpenSearch, decrypt the key with "
                "`openssl pkey`"
            )
        else:
            msg, hint = f"{pair}: one of them is not a PEM file", "download both again"
        raise ConfigError(msg, hint) from error
    return made


def for_opensearch(settings: OpenSearchSettings) -> ssl.SSLContext:
    """Make the context for an OpenSearch client; see `context`."""
    return context(settings.ca, settings.cert, settings.key)


def for_kafka(security: Mapping[str, str]) -> ssl.SSLContext:
    """Make the context for a Kafka client from librdkafka properties; see `context`."""
    names = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
    ca, cert, key = (Path(security[name]) if name in security else None for name in names)
    return context(ca, cert, key, security.get("ssl.key.password"))


def is_refusal(error: ssl.SSLError) -> bool:
    """Say whether the server refused the client, not the other way round."""
    return "ALERT_" in (error.reason or "")


def explain(error: BaseException | None) -> tuple[str, Hint] | None:
    """Give the cause of a TLS failure and its remedy; None for an error that is not about TLS.

    Follows the chain of causes.
    """
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return _explain(error)
        causes = [error.__cause__, error.__context__, *error.args, getattr(error, "reason", None)]
        error = next((each for each in causes if isinstance(each, BaseException)), None)
    return None


def _explain(error: ssl.SSLError) -> tuple[str, Hint]:
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message.rstrip(".")
        if error.verify_code in _WRONG_NAME:
            return f"its certificate is for another name: {said}", "use the name in the certificate"
        if error.verify_code == _EXPIRED:
            return "its certificate has expired", "renew it"
        ca = ConfFile("ca.pem")
        hint = "save the CA of this service as ", ca, "; for OpenSearch, also set it as 'ca'"
        return f"its certificate is not trusted: {said}", hint
    reason = error.reason or str(error)
    alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
    if alert:
        return (
            f"it rejected our certificate, or requires one: {alert}",
            "download service.cert and service.key of a user of this service again",
        )
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "it does not speak TLS", "use its TLS port"
    return f"no TLS connection: {reason.replace('_', ' ').lower()}", "check its address and port"


_EXPIRED = 10
_WRONG_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH."""
