"""Shell: what a person agrees to, from the configuration: the notice's terms, and whether their yes still holds."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from capture import effects
from capture.consent import Terms, digest, notice
from capture.errors import ConfigError, NoConsent
from capture.narrowing import wider
from codec.errors import CodecError
from codec.seal import ArchivePublicKey, DeviceVerifyKey

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home


def agent_name() -> str:
    """Return our name and version, as chunks state it."""
    try:
        return f"modicum {version('modicum')}"
    except PackageNotFoundError:
        return "modicum (not installed)"


def archive_key(config: Config) -> ArchivePublicKey:
    """Read the archive's public key.

    Raises:
        ConfigError: none is configured, or the file holds none.
    """
    name = config.archive.public_key
    if not name:
        raise ConfigError(
            "archive.public_key is not set: nothing can be sealed; name the file that `modicum keys archive` made"
        )
    try:
        return ArchivePublicKey.from_text(Path(name).expanduser().read_text(encoding="ascii"))
    except FileNotFoundError as error:
        raise ConfigError(f'archive.public_key = "{name}": there is no such file') from error
    except UnicodeDecodeError as error:
        raise ConfigError(f'archive.public_key = "{name}": that is no key file') from error


def answer_keys(config: Config) -> tuple[DeviceVerifyKey, ...]:
    """Read the keys, one a line, by any of which the collectors' answers are signed; none is configured: none.

    Raises:
        ConfigError: the file holds no key.
    """
    name = config.archive.answers
    if not name:
        return ()
    try:
        lines = Path(name).expanduser().read_text(encoding="ascii").splitlines()
        keys = tuple(DeviceVerifyKey.from_text(line) for line in lines if line.strip() and not line.startswith("#"))
    except (FileNotFoundError, UnicodeDecodeError, CodecError) as error:
        raise ConfigError(f'archive.answers = "{name}": there is no key in this file: {error}') from error
    if not keys:
        raise ConfigError(
            f'archive.answers = "{name}": this file is empty; `modicum enrol --renew` fetches the key anew'
        )
    return keys


def terms_of(config: Config) -> Terms:
    """Return what the consent notice must say of a configuration.

    Raises:
        ConfigError: there is no archive's key.
    """
    key = archive_key(config)
    readers = config.archive.reader or "whoever holds the private half of the archive key"
    return effects.terms_of(config, readers=f"{readers}, key {key.key_id.hex()}")


def consent_digest(config: Config, home: Home) -> bytes:
    """Return the SHA-256 of the notice in force: the one that was accepted, and that the configuration does not exceed.

    Raises:
        NoConsent: there is no yes, or the configuration goes beyond what was agreed to.
    """
    consent = home.consent()
    if consent is None:
        raise NoConsent("nothing is recorded before you agree: read the notice and answer it with `modicum consent`")
    terms = terms_of(config)
    if consent.digest != digest(notice(terms)):
        beyond = ("the notice",) if consent.terms is None else wider(terms, consent.terms)
        if consent.terms is not None and consent.digest != digest(notice(consent.terms)):
            beyond = (*beyond, "the notice's own words")
        if beyond:
            raise NoConsent(
                f"what is recorded would go beyond what you agreed to ({', '.join(beyond)}): "
                "read what is new with `modicum consent`"
            )
    return bytes.fromhex(consent.digest)


ADMINISTRATION = Path("/etc/modicum/policy.toml")
"""Where an administrator's policy lies; another one, given by the person, counts besides."""


def effective(config: Config, given: Path | None, *, usual: Path = ADMINISTRATION) -> Config:
    """Return a person's configuration as far as the administrator's policies let it.

    Args:
        config: the person's. given: one more policy file. usual: the policy that counts when it exists.

    Raises:
        ConfigError: a policy is wrong or cannot be read: then nothing is recorded.
    """
    from capture.administration import narrowed, parse_administration

    for path in (usual, given):
        if path is None or (path == usual and not path.exists()):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the administrator's policy {path} cannot be read ({error}): nothing is recorded"
            ) from error
        config = narrowed(config, parse_administration(text, source=str(path)))
    return config
