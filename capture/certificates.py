"""Shell: looks whether the files of a TLS connection are what the configuration says, before anything depends on them."""

from __future__ import annotations

import ssl
from pathlib import Path

from capture.errors import ConfigError


def check(ca: Path | None, certificate: Path | None, key: Path | None) -> None:
    """Load the files as a connection would.

    Raises:
        ConfigError: one is missing, is no certificate or key, or the two do not belong together; the text says which.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca is not None:
            context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f'broker.ca = "{ca}" cannot be used: {_said(error)}') from error
    try:
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f'broker.cert = "{certificate}" and broker.key = "{key}" cannot be used together: {_said(error)}'
        ) from error


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return error.strerror or str(error)
