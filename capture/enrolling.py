"""Shell: how this device is let in: makes its request, has it answered, and keeps the answer.

The device's keys are made here and never leave: what goes out is public. An answer counts only when it is to this very request
and signed by the fleet's authority, which is known by the token, by what an earlier enrolment left here, or by a fingerprint
that the person compares. Until it has come, nothing that is in force changes; what was asked lies in `enrolled/` under `.new`, so
that asking again after a crash asks for the same keys. Bytes of an enrolment (some 8 kB, when a person runs the command) are not
charged to the budget; what the agent renews by itself is (capture/publishing.py).

What the person agreed to, above all the key that their recordings are sealed for, changes only when they run the command: the next
start then asks them. Of what the agent itself was answered, only what says who this device is, and whose answers count, is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from capture.config_edit import Value
from capture.errors import CaptureError
from capture.home import Home
from capture.keyfiles import read_private, write_private
from codec.seal import DeviceSigningKey, DeviceVerifyKey
from transport.enrolment import (
    NONCE_BYTES,
    PIN_BYTES,
    Reply,
    Request,
    Token,
    from_armor,
    pack_request,
    parse_request,
    to_armor,
)

if TYPE_CHECKING:
    from transport.endpoint import Broker

ASKED, ANSWERED, SIGNING_NEW, TLS_NEW = "asked.new", "asked", "device.key.new", "client.key.new"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What an enrolment led to. settings: for the configuration, (table, key) to value. archive_key: its id, hexadecimal."""

    settings: dict[tuple[str, str], Value]
    archive_key: str
    changed_key: bool


class Enrolling:
    """See the module. home: the agent's folders; they exist."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._folder = home.enrolled

    def by_token(self, text: str, address: str, *, ca: Path | None) -> Enrolled:
        """Enrol with a one-time token, over the broker.

        Args:
            text: the token. address: the broker, mqtts://host[:port]. ca: PEM of who signs its certificate; None: whoever it is.

        Raises:
            TransportError: nobody answers, or the answer is no.
        """
        token = Token.from_text(text)
        request = self._ask_for(self._home.signing_key(), token.key)
        answer = _over_broker(address, ca, request)
        done = self._take(request, answer, pin=token.pin)
        self._remember(address, ca)
        return done

    def renew(self, address: str, *, ca: Path | None, new_key: bool) -> Enrolled:
        """Renew: a new client certificate, the archive key in force, and a new signing key where that is wished.

        Args:
            address: the broker's enrolment listener; "": as last time. ca: see by_token. new_key: change the signing key.

        Raises:
            CaptureError: this device was never enrolled. TransportError: nobody answers, or the answer is no.
        """
        authority = self._authority()
        if not address:
            address, remembered = self._remembered()
            ca = ca or remembered
        request = self._renewal(new_key)
        done = self._take(request, _over_broker(address, ca, request), authority=authority)
        self._remember(address, ca)
        return done

    def ask_by_itself(self) -> tuple[Broker, bytes]:
        """Return where the agent asks for the next certificate, and the request.

        Raises:
            CaptureError: this device was never enrolled, or by file, so that it knows no address.
        """
        self._authority()
        current = self._home.signing_key()
        return _enrolment_at(*self._remembered()), self._packed(current, current)

    def take_by_itself(self, request: bytes, answer: bytes) -> Reply:
        """Take of an answer to the agent itself what is no matter of consent: certificate, and whose answers count.

        Returns:
            What it says, also of what was not taken.

        Raises:
            TransportError: it is a refusal, or not the fleet's; nothing has changed.
        """
        from transport.joining import check_reply

        reply = check_reply(request, answer, authority=self._authority())
        if not reply.certificate:
            raise CaptureError("the answer brings no certificate: ask whoever runs the archive")
        self._take_credentials(reply)
        self._keep(ANSWERED, request)
        return reply

    def finish(self) -> None:
        """Do what a crash left undone between the two files: the key of the certificate that was taken takes its place."""
        coming, certificate = self._folder / TLS_NEW, self._folder / "client.pem"
        if not coming.exists() or not certificate.exists():
            return
        from transport.authority import BadCertificate, belongs, public_of

        with contextlib.suppress(BadCertificate):  # then there is nothing to finish
            public = public_of(read_private(coming, what="the new certificate's key"))
            if belongs(certificate.read_bytes(), self._home.device(), public):
                os.replace(coming, self._folder / "client.key")

    def write_request(self, path: Path, *, renew: bool = False, new_key: bool = False) -> None:
        """Write a request as text, for somebody to hand in. renew: signed by the key that is enrolled already."""
        request = self._renewal(new_key) if renew else self._ask_for(self._home.signing_key(), None)
        write_private(path, to_armor(request, "request").encode())

    def take_reply(self, path: Path, *, pin: str) -> Enrolled:
        """Take the answer to the written request. pin: the SHA-256 of the authority's certificate, as its owner tells it; "": as
        an earlier enrolment left it.

        Raises:
            CaptureError: no request is open, or the fingerprint is not one. TransportError: the answer is no, or not the fleet's.
        """
        asked = self._folder / ASKED
        if not asked.exists():
            raise CaptureError("no request is open: write one with `modicum enrol --request FILE`")
        request = read_private(asked, what="the enrolment's request")
        answer = from_armor(path.read_text("ascii", errors="replace"), "reply")
        if not pin:
            return self._take(request, answer, authority=self._authority())
        try:
            wanted = bytes.fromhex(pin.replace(":", ""))
        except ValueError:
            wanted = b""
        if len(wanted) < PIN_BYTES:
            raise CaptureError(
                f"--fingerprint takes {2 * PIN_BYTES} hexadecimal digits or more: `modicum keys ca` prints them"
            )
        return self._take(request, answer, pin=wanted)

    def _renewal(self, new_key: bool) -> bytes:
        current = self._home.signing_key()
        if not new_key:
            return self._ask_for(current, current)
        kept = self._folder / SIGNING_NEW
        if not kept.exists():
            write_private(kept, DeviceSigningKey.generate().to_text().encode())
        coming = DeviceSigningKey.from_text(read_private(kept, what="the new signing key").decode())
        return self._ask_for(coming, current)

    def _ask_for(self, signer: DeviceSigningKey, right: DeviceSigningKey | None) -> bytes:
        packed = self._packed(signer, right)
        self._keep(ASKED, packed)
        return packed

    def _packed(self, signer: DeviceSigningKey, right: DeviceSigningKey | None) -> bytes:
        from transport.authority import signing_request

        request = Request(
            self._home.device(),
            signer.public,
            self._later_than_before(),
            secrets.token_bytes(NONCE_BYTES),
            signing_request(self._coming_key()),
            right.key_id if right is not None else b"",
        )
        return pack_request(request, signer, right)

    def _coming_key(self) -> bytes:
        """Return the key of the certificate that is asked for, the same until it has come; one that a power cut damaged is made anew."""
        from transport.authority import BadCertificate, new_key, public_of

        kept = self._folder / TLS_NEW
        with contextlib.suppress(BadCertificate):
            if kept.exists():
                key = read_private(kept, what="the new certificate's key")
                public_of(key)
                return key
        write_private(kept, new_key()[0])
        return read_private(kept, what="the new certificate's key")

    def _later_than_before(self) -> int:
        """Return the wall clock in seconds, or what comes after the last request that was granted: the enrolment takes only what is
        newer, and two may be made within a second, or the clock set back between them. (One that was refused does not count:
        it may have been for a clock that was years ahead.)"""
        kept = self._folder / ANSWERED
        now_s = int(time.time())
        if not kept.exists():
            return now_s
        return max(now_s, parse_request(read_private(kept, what="the request before")).request.made_s + 1)

    def _take(self, request: bytes, answer: bytes, *, pin: bytes = b"", authority: bytes = b"") -> Enrolled:
        from transport.joining import check_reply

        reply = check_reply(request, answer, pin=pin, authority=authority)
        folder, settings = self._folder, dict[tuple[str, str], Value]()
        self._keep("ca.pem", reply.authority)
        self._take_credentials(reply)
        if reply.archive_key is not None:
            self._keep("archive.pub", reply.archive_key.to_text().encode())
            settings["archive", "public_key"] = str(folder / "archive.pub")
        if reply.answer_key is not None:
            settings["archive", "answers"] = str(folder / "answers.pub")
        if reply.reader:
            settings["archive", "reader"] = reply.reader
        settings |= self._broker_settings(reply)
        changed = (folder / SIGNING_NEW).exists() and self._is_asked_for(request)
        if changed:
            os.replace(folder / SIGNING_NEW, self._home.signing_key_file)
        if (folder / ASKED).exists():
            os.replace(folder / ASKED, folder / ANSWERED)
        self._home.renewal.unlink(missing_ok=True)
        return Enrolled(settings, reply.archive_key.key_id.hex() if reply.archive_key else "", changed)

    def _take_credentials(self, reply: Reply) -> None:
        if reply.certificate:
            self._keep("client.pem", reply.certificate)
            self.finish()
        if reply.answer_key is not None:
            self._keep("answers.pub", self._answer_keys(reply.answer_key))

    def _remember(self, address: str, ca: Path | None) -> None:
        """Keep where the enrolment answers: the agent asks there when its certificate comes to its end."""
        kept = {"address": address, "ca": str(ca.resolve()) if ca else ""}
        self._keep(self._home.enrolment.name, json.dumps(kept).encode())

    def _remembered(self) -> tuple[str, Path | None]:
        if not self._home.enrolment.exists():
            raise CaptureError("this device was enrolled by file: name the broker with --broker, or use --request")
        kept = json.loads(read_private(self._home.enrolment, what="the enrolment's address"))
        return kept["address"], Path(kept["ca"]) if kept["ca"] else None

    def _answer_keys(self, key: DeviceVerifyKey) -> bytes:
        """Return the keys' file: the one in force, and the one before, since collectors do not change theirs all at once."""
        path, line = self._folder / "answers.pub", key.to_text().strip()
        before = read_private(path, what="the key for answers").decode().splitlines() if path.exists() else []
        return "\n".join([line, *[old for old in before if old != line][:1], ""]).encode()

    def _is_asked_for(self, request: bytes) -> bool:
        kept = read_private(self._folder / SIGNING_NEW, what="the new signing key").decode()
        return parse_request(request).request.key == DeviceSigningKey.from_text(kept).public

    def _broker_settings(self, reply: Reply) -> dict[tuple[str, str], Value]:
        if not reply.host:
            return {}
        settings: dict[tuple[str, str], Value] = {
            ("broker", "host"): reply.host,
            ("broker", "port"): reply.port,
            ("broker", "tls"): reply.tls,
        }
        if reply.tls:
            settings["broker", "ca"] = str(self._folder / "ca.pem")
            if reply.certificate:
                settings["broker", "cert"] = str(self._folder / "client.pem")
                settings["broker", "key"] = str(self._folder / "client.key")
        return settings

    def _authority(self) -> bytes:
        path = self._folder / "ca.pem"
        if not path.exists():
            raise CaptureError("this device is not enrolled yet: use a token, or give the authority's --fingerprint")
        return read_private(path, what="the fleet's authority")

    def _keep(self, name: str, content: bytes) -> None:
        write_private(self._folder / name, content)


def _over_broker(address: str, ca: Path | None, request: bytes) -> bytes:
    from transport.joining import ask

    return asyncio.run(ask(_enrolment_at(address, ca), request))


def _enrolment_at(address: str, ca: Path | None) -> Broker:
    from transport.address import broker_of
    from transport.endpoint import Tls

    broker = broker_of(address, "", None, ca, None, None)
    if broker.tls is not None and ca is None:
        broker = replace(broker, tls=Tls(anyone=True))
    return broker
