"""Shell: where the agent keeps what is its own on this machine: pseudonym, signing key, consent, spool, ledger.

Everything lies in one folder (0700) of the person's own, so that one glance shows it and one command removes it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from capture.consent import Consent
from capture.errors import CaptureError
from capture.keyfiles import read_private, write_private
from codec.model import DEVICE_PATTERN
from codec.seal import ArchivePrivateKey, DeviceSigningKey

DEVICE_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
DEVICE_CHARACTERS = 16
"""16 of 32 signs: 80 random bits, so that two devices of one fleet never draw the same."""


CONFIG_NAME = "modicum/config.toml"


def config_path(given: Path | None, environment: Mapping[str, str]) -> Path:
    """Return where the configuration lies: as given, or by the XDG base directory specification."""
    if given is not None:
        return given
    base = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / CONFIG_NAME


@dataclass(frozen=True, slots=True)
class Home:
    """The agent's folders.

    Attributes:
        state: what must survive a reboot. runtime: the control socket's folder.
    """

    state: Path
    runtime: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Home:
        """Find the folders by the XDG base directory specification.

        Args:
            environment: `os.environ`; MODICUM_HOME there puts everything below one folder (tests, the demo).
        """
        if "MODICUM_HOME" in environment:
            base = Path(environment["MODICUM_HOME"])
            return cls(base / "state", base / "run")
        home = Path(environment.get("HOME", "~")).expanduser()
        state = Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state") / "modicum"
        # Without a runtime folder (no session manager) the state folder serves: it is private as well.
        runtime = environment.get("XDG_RUNTIME_DIR")
        return cls(state, Path(runtime) / "modicum" if runtime else state / "run")

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.runtime / "control"

    @property
    def spool(self) -> Path:
        """The spool's folder."""
        return self.state / "spool"

    @property
    def ledger(self) -> Path:
        """The budget's ledger."""
        return self.state / "ledger"

    @property
    def learned(self) -> Path:
        """What the governor has learned."""
        return self.state / "learned.json"

    @property
    def index(self) -> Path:
        """Which chunk covers which minutes."""
        return self.state / "chunks"

    @property
    def erasures(self) -> Path:
        """The orders to erase, and the archive's answers."""
        return self.state / "erasures"

    @property
    def farewell(self) -> Path:
        """The last order of a device whose person withdrew, until it is answered."""
        return self.state / "farewell"

    @property
    def enrolled(self) -> Path:
        """The folder of what this device was let in by."""
        return self.state / "enrolled"

    @property
    def enrolment(self) -> Path:
        """Where the enrolment answers, as the device was told; there is none where it was enrolled by file."""
        return self.enrolled / "enrolment.json"

    @property
    def renewal(self) -> Path:
        """What was tried to renew the certificate."""
        return self.enrolled / "renewal.json"

    @property
    def consent_file(self) -> Path:
        """The record of the person's yes."""
        return self.state / "consent.json"

    @property
    def journal(self) -> Path:
        """The account of what was recorded, what left, and who asked for what."""
        return self.state / "journal.jsonl"

    @property
    def standing(self) -> Path:
        """The person's pause and exemptions, which outlast a restart."""
        return self.state / "standing.json"

    @property
    def copies(self) -> Path:
        """The folder of the person's own copies, for `modicum review`."""
        return self.state / "copies"

    @property
    def own_key_file(self) -> Path:
        """The key that opens them."""
        return self.state / "own.key"

    @property
    def forgotten(self) -> Path:
        """The note of what was deleted while no agent ran."""
        return self.state / "forgotten.json"

    def own_key(self) -> ArchivePrivateKey:
        """Return the person's own key pair, which their copies are sealed for; it is made on first use."""
        if not self.own_key_file.exists():
            write_private(self.own_key_file, ArchivePrivateKey.generate().to_text().encode())
        return ArchivePrivateKey.from_text(read_private(self.own_key_file, what="your own key").decode())

    def label_key(self) -> bytes:
        """Return the secret that this device's digests are keyed with; it is made on first use and never leaves."""
        path = self.state / "label.key"
        if not path.exists():
            write_private(path, secrets.token_bytes(32))
        return read_private(path, what="the key of labels' digests")

    @property
    def signing_key_file(self) -> Path:
        """The device's signing key."""
        return self.state / "device.key"

    def prepare(self) -> None:
        """Make the folders, private."""
        for folder in (self.state, self.runtime):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chmod(folder, 0o700)

    def device(self) -> str:
        """Return the device's pseudonym; it is drawn at random on first use.

        Raises:
            CaptureError: the stored one is damaged.
        """
        path = self.state / "device"
        if not path.exists():
            drawn = "".join(secrets.choice(DEVICE_ALPHABET) for _ in range(DEVICE_CHARACTERS))
            write_private(path, drawn.encode() + b"\n")
        name = read_private(path, what="the device's pseudonym").decode("ascii", "replace").strip()
        if DEVICE_PATTERN.fullmatch(name) is None:
            raise CaptureError(f"{path} holds no device pseudonym: remove it, and a new one is drawn")
        return name

    def signing_key(self) -> DeviceSigningKey:
        """Return the device's signing key; it is made on first use."""
        path = self.signing_key_file
        if not path.exists():
            write_private(path, DeviceSigningKey.generate().to_text().encode())
        return DeviceSigningKey.from_text(read_private(path, what="the device's signing key").decode())

    def consent(self) -> Consent | None:
        """Return the person's recorded yes, None when there is none (or it is damaged: then they are asked again)."""
        if not self.consent_file.exists():
            return None
        return Consent.from_json(read_private(self.consent_file, what="the record of consent"))
