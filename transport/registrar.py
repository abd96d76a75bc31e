"""Shell: the registrar: decides on enrolment requests, writes the registry, issues certificates, and answers.

A request is granted by one of three rights: a one-time token (for a device that is not enrolled), the device's own enrolled key
(to renew its certificate, fetch a new archive key, or change its signing key), or the hand of whoever runs `modicum keys accept`.
Guarantees: a token serves one device once, and only until it expires; the same request asked again gets the same answer, so that
a lost answer costs nothing; an older renewal is refused as a replay; a token cannot take over a device that is enrolled; what
was granted is in the registry, durably, before it is answered. Strangers cost little: an unknown token's request is dropped
after one look at a file's name, and requests over a rate are dropped unread.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from codec.errors import CodecError
from codec.seal import ArchivePublicKey, DeviceVerifyKey
from transport.authority import CERTIFICATE_DAYS, Authority, BadCertificate, Purpose, fingerprint, requested_key
from transport.devices import BadRecord, Certificate, Device, SigningKey
from transport.enrolment import (
    OF_AUTHORITY,
    PIN_BYTES,
    SEED_BYTES,
    TOKEN_ID_BYTES,
    Asked,
    BadEnrolment,
    Reply,
    Token,
    join_reply,
    pack_reply,
    parse_request,
)
from transport.fs import Files, read_file, replace_file
from transport.registry import Registry

TOKENS = ".tokens"
TOKEN_FILE = re.compile(r"[0-9a-f]{16}\.json")
MAX_TOKEN_BYTES = 16 * 1024
TOKEN_HOURS = 72
"""How long a token holds by default: over a weekend."""

RATE_S = 10.0
BURST = 40
"""Requests that are looked at: each takes some ms (two signatures, a certificate, a file)."""

AHEAD_S = 86_400
KEPT_TOKENS_S = 30 * 86_400
"""Tokens that have ended are forgotten after so long."""

MAX_CERTIFICATES = 64
"""Of one device that are remembered, for revocation; they end by themselves."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What devices are told on enrolment: see transport.enrolment.Reply."""

    host: str = ""
    port: int = 0
    tls: bool = False
    reader: str = ""
    answer_key: DeviceVerifyKey | None = None
    days: int = CERTIFICATE_DAYS


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as the registry knows it: no secret.

    Attributes:
        key: its public key. until_s: its end. archive_key: what its device will seal for (None: the device has one).
        asked: digest of the request that used it; b"": it is unused. device: by which. reply: what it was answered.
    """

    key: DeviceVerifyKey
    until_s: int
    archive_key: ArchivePublicKey | None
    asked: bytes = b""
    device: str = ""
    reply: bytes = b""

    def to_json(self) -> bytes:
        """Return it as it is stored."""
        fields = {
            "key": self.key.to_text().strip(),
            "until_s": self.until_s,
            "archive_key": self.archive_key.to_text().strip() if self.archive_key else "",
            "asked": self.asked.hex(),
            "device": self.device,
            "reply": self.reply.hex(),
        }
        return json.dumps(fields, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> StoredToken:
        """Read one. Raises: BadRecord."""
        try:
            fields = json.loads(data)
            return cls(
                DeviceVerifyKey.from_text(fields["key"]),
                int(fields["until_s"]),
                ArchivePublicKey.from_text(fields["archive_key"]) if fields["archive_key"] else None,
                bytes.fromhex(fields["asked"]),
                str(fields["device"]),
                bytes.fromhex(fields["reply"]),
            )
        except (ValueError, KeyError, TypeError, CodecError) as error:
            raise BadRecord(f"a token's record cannot be read: {error}") from error


@dataclass(slots=True)
class Rate:
    """A bucket of permissions that fills again. Pure: time is an argument."""

    per_s: float = RATE_S
    burst: float = BURST
    left: float = BURST
    seen_s: float = 0.0

    def take(self, now_s: float) -> bool:
        """Take one permission, if there is one. now_s: monotonic."""
        self.left = min(self.burst, self.left + max(0.0, now_s - self.seen_s) * self.per_s)
        self.seen_s = now_s
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a request. kind: "enrolled", "renewed", "repeated", "refused", "dropped". reply: b"": none."""

    kind: str
    text: str
    device: str = ""
    reply: bytes = b""


class Registrar:
    """See the module."""

    def __init__(
        self,
        files: Files,
        registry: Registry,
        authority: Authority | None,
        offer: Offer,
        *,
        now_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """Prepare a registrar.

        Args:
            files: where. registry: what it writes. authority: None: answers nothing, only registers (by hand).
            offer: what devices are told. now_s: the wall clock.
        """
        self._files = files
        self._registry = registry
        self._authority = authority
        self._offer = offer
        self._now_s = now_s
        self._rate = Rate()
        self._tokens = registry.folder / TOKENS

    def make_token(self, archive_key: ArchivePublicKey | None, *, hours: float = TOKEN_HOURS) -> Token:
        """Make a token and store its public half; the token itself is nowhere but in what is returned.

        Args:
            archive_key: what its device will seal for. hours: how long it holds.

        Raises:
            BadEnrolment: there is no authority to answer it.
        """
        pin = fingerprint(self._require_authority().certificate)[:PIN_BYTES]
        token = Token(os.urandom(SEED_BYTES), pin)
        self._files.make_dir(self._tokens)
        self._forget_old_tokens()
        self._store(StoredToken(token.key.public, self._now_s() + int(hours * 3600), archive_key))
        return token

    def answer(self, data: bytes) -> Decided:
        """Decide on a request that came over the broker. Never raises for what is in it."""
        if not self._rate.take(time.monotonic()):
            return Decided("dropped", "more enrolment requests than are looked at")
        try:
            asked = parse_request(data)
            if len(asked.request.right) != TOKEN_ID_BYTES:
                return Decided("dropped", "a request without a right: those are accepted by hand", asked.request.device)
            with self._registry.locked():
                token = self._token(asked.request.right)
                if token is not None:
                    return self._by_token(asked, token)
                return self._by_own_key(asked)
        except BadEnrolment as error:
            return Decided("dropped", str(error))

    def accept(self, data: bytes, archive_key: ArchivePublicKey | None) -> Decided:
        """Decide on a request that a person hands in.

        Raises:
            BadEnrolment: it is none, or is refused.
        """
        asked = parse_request(data)
        with self._registry.locked():
            record = self._registry.get(asked.request.device)
            if record is not None and record.find(asked.request.key.key_id) is None:
                if not asked.request.right:
                    raise BadEnrolment(
                        f"device {record.device} is enrolled with another key: have it renew by its own "
                        "(`modicum enrol --renew`), or revoke it first and enrol it under a new pseudonym"
                    )
                decided = self._by_own_key(asked)
                if decided.kind == "refused":
                    raise BadEnrolment(decided.text)
                return decided
            return self._grant(asked, record, archive_key, "enrolled")

    def _by_token(self, asked: Asked, token: StoredToken) -> Decided:
        request = asked.request
        if not asked.has_right_of(token.key):
            return Decided("dropped", "a request that names a token and does not have it", request.device)
        if token.asked:
            if token.asked == asked.digest:
                return Decided("repeated", "the same request again", request.device, token.reply)
            return self._refuse(asked, "this token was used already: ask for a new one")
        if self._now_s() >= token.until_s:
            return self._refuse(asked, "this token has expired: ask for a new one")
        record = self._registry.get(request.device)
        if record is not None and record.find(request.key.key_id) is None:
            return self._refuse(
                asked, f"device {request.device} is enrolled already: `modicum enrol --renew` renews it"
            )
        # A record with this very key: we died between the record and the token, or the device was accepted by hand as well.
        decided = self._grant(asked, record, token.archive_key, "enrolled")
        if decided.kind == "enrolled":
            self._store(replace(token, asked=asked.digest, device=request.device, reply=decided.reply))
        return decided

    def _by_own_key(self, asked: Asked) -> Decided:
        request = asked.request
        record = self._registry.get(request.device)
        entry, refusal = record.judge(request.right, self._now_s()) if record is not None else (None, None)
        if record is None or entry is None:
            return Decided("dropped", "a request by a key or token that is not known", request.device)
        if not asked.has_right_of(entry.key):
            return Decided("dropped", "a request that names a device's key and is not signed by it", request.device)
        if refusal is not None:
            return self._refuse(asked, "this device or its key is revoked: ask whoever runs the archive")
        if request.made_s > self._now_s() + AHEAD_S:  # remembered, it would shut out what comes at the right time
            return self._refuse(asked, "this machine's clock is more than a day ahead: set it, and try again")
        if request.made_s <= record.renewed_s:
            return self._refuse(
                asked, "a newer request was answered already: look at this machine's clock, and try again"
            )
        if (known := record.find(request.key.key_id)) is not None and (known.revoked_s or known.until_s):
            return self._refuse(asked, "it asks for a key that has ended already: make a new one")
        archive_key = record.sealing[-1].key if record.sealing else None
        return self._grant(asked, replace(record, renewed_s=request.made_s), archive_key, "renewed")

    def _grant(self, asked: Asked, record: Device | None, archive_key: ArchivePublicKey | None, kind: str) -> Decided:
        request, now_s = asked.request, self._now_s()
        if record is None:
            record = Device(request.device, now_s, (SigningKey(request.key, now_s),))
        elif record.revoked_s:
            return self._refuse(asked, "this device is revoked")
        else:
            record = record.with_key(request.key, now_s)
        certificate = b""
        if request.csr and self._authority is not None:
            try:
                public = requested_key(request.csr)
            except BadCertificate as error:
                return self._refuse(asked, str(error))
            issued = self._authority.issue(request.device, public, Purpose.CLIENT, now_s, days=self._offer.days)
            certificate = issued.pem
            entry = Certificate(issued.serial, issued.until_s)
            record = replace(record, certificates=(*record.certificates[1 - MAX_CERTIFICATES :], entry))
        if archive_key is not None:
            record = record.with_sealing(archive_key, now_s)
        self._registry.store(record)
        reply = b""
        if self._authority is not None:
            offer = self._offer
            reply = self._signed(
                Reply(
                    asked.digest,
                    "",
                    archive_key,
                    self._authority.certificate,
                    certificate,
                    offer.host,
                    offer.port,
                    offer.tls,
                    offer.reader,
                    offer.answer_key,
                )
            )
        return Decided(kind, f"key {request.key.key_id.hex()}", request.device, reply)

    def _refuse(self, asked: Asked, why: str) -> Decided:
        reply = b""
        if self._authority is not None:
            reply = self._signed(Reply(asked.digest, why, authority=self._authority.certificate))
        return Decided("refused", why, asked.request.device, reply)

    def _signed(self, reply: Reply) -> bytes:
        body = pack_reply(reply)
        return join_reply(body, self._require_authority().sign(OF_AUTHORITY + body))

    def _require_authority(self) -> Authority:
        if self._authority is None:
            raise BadEnrolment("there is no authority: `modicum keys ca` makes one, and --ca names it")
        return self._authority

    def _forget_old_tokens(self) -> None:
        for name in self._files.list_dir(self._tokens):
            token = self._token(bytes.fromhex(name.removesuffix(".json"))) if TOKEN_FILE.fullmatch(name) else None
            if token is not None and token.until_s + KEPT_TOKENS_S < self._now_s():
                self._files.unlink(self._tokens / name)

    def _token(self, token_id: bytes) -> StoredToken | None:
        path = self._tokens / f"{token_id.hex()}.json"
        try:
            return StoredToken.from_json(read_file(self._files, path, limit_bytes=MAX_TOKEN_BYTES))
        except FileNotFoundError:
            return None

    def _store(self, token: StoredToken) -> None:
        replace_file(self._files, self._tokens / f"{token.key.key_id.hex()}.json", token.to_json())
