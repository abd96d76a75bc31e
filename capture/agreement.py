"""Shell: what a person agrees to, from the configuration: the notice's terms, and whether their yes still holds."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from capture.consent import Terms, digest, notice
from capture.errors import ConfigError, NoConsent
from capture.labels import Labels
from capture.units import show_duration, show_size
from codec.seal import ArchivePublicKey

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


def terms_of(config: Config) -> Terms:
    """Return what the consent notice must say of a configuration."""
    key = archive_key(config)
    budget, screens, broker = config.budget, config.screens, config.broker
    limits = [f"{show_size(limit)} a {span}" for limit, span in ((budget.day, "day"), (budget.month, "month")) if limit]
    joined = " and ".join(limits)
    shown = f"when the picture changed, at most every {show_duration(screens.min_interval)}"
    return Terms(
        purposes=config.consent.purposes,
        applications=config.scope.allow,
        screenshots=shown if screens.enabled else "none",
        readers=f"{config.archive.reader or 'whoever holds the private half of the archive key'}, "
        f"key {key.key_id.hex()}",
        server=f"{broker.host}:{broker.port}",
        retention_days=config.consent.retention.days,
        region=config.consent.region,
        hold_back=show_duration(config.capture.hold_back),
        copies=copies_in_words(config),
        semantics=semantics_in_words(config),
        cost=f"{f'at most {joined} on the wire' if limits else 'bytes on the wire without a limit'}; at most "
        f"{config.energy.cpu_mains:.0%} of one processor core on mains, {config.energy.cpu_battery:.0%} on battery, "
        f"and nothing below {config.energy.floor:.0%} of charge",
    )


def semantics_in_words(config: Config) -> str:
    """Return what `[semantics]` records, "" when it is off."""
    if not config.semantics.enabled:
        return ""
    labels = "by their labels" if config.semantics.labels is Labels.TEXT else "by a digest of their labels"
    return (
        f"what you choose in menus and lists and what you click on, {labels}; dialogs; the host of the site you are on; "
        "shortcuts by name (Ctrl+C); types, size and a digest of what you copy"
    )


def copies_in_words(config: Config) -> str:
    """Return what `[review]` leaves on this machine."""
    keep, limit = config.review.keep, config.review.limit
    if not keep or not limit:
        return "nothing is kept on this machine (so there is nothing to see once it is sealed)"
    return (
        f"a copy of the last {show_duration(keep)}, at most {show_size(limit)}, stays on this machine, "
        "sealed for a key that only your account can read"
    )


def consent_digest(config: Config, home: Home) -> bytes:
    """Return the SHA-256 of the accepted notice.

    Raises:
        NoConsent: there is no yes, or it was given to another notice.
    """
    consent = home.consent()
    if consent is None:
        raise NoConsent("nothing is recorded before you agree: read the notice and answer it with `modicum consent`")
    if consent.digest != digest(notice(terms_of(config))):
        raise NoConsent("the configuration has changed since you agreed: read what is new with `modicum consent`")
    return bytes.fromhex(consent.digest)
