"""Pure: the fleet's own certificate authority: makes its key, issues certificates for broker, roles and devices, revokes them.

Keys are ECDSA on P-256, which every TLS library and every security chip has. A device's certificate carries its pseudonym as
common name and nothing else; a role's (the collector's) has a dot in its name, which no pseudonym can have, so that no device
can pass for a role. A device makes its key itself and shows a signing request (CSR): no private key ever travels.

The clock is an argument; the one impurity is that keys and serial numbers draw randomness from the system. Files are the caller's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from transport.errors import TransportError

if TYPE_CHECKING:  # loaded on first use
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

CA_DAYS = 3650
CERTIFICATE_DAYS = 365
CRL_DAYS = 3650
"""A broker refuses everybody once its revocation list is out of date, so it is long; it is made anew with each revocation."""

EARLY = timedelta(hours=1)
"""Certificates begin so much earlier, for clocks that go a little wrong."""

MAX_CSR_BYTES = 4096
MAX_PEM_BYTES = 64 * 1024


class Purpose(Enum):
    """What a certificate is for."""

    BROKER = "broker"
    CLIENT = "client"


class BadCertificate(TransportError):
    """A key, a certificate or a signing request is not what is needed."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate: PEM, its serial number, and its end in wall seconds since 1970."""

    pem: bytes
    serial: int
    until_s: int


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority: certificate (PEM) and private key (PEM, PKCS#8)."""

    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def make(cls, name: str, now_s: int) -> Authority:
        """Make a new authority. name: how it is called in its certificate."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        private = _new_key()
        subject = _name(name)
        begin, end = _span(now_s, CA_DAYS)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=False, certifies=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
            .sign(private, hashes.SHA256())
        )
        return cls(_pem(certificate), _key_pem(private))

    def issue(
        self,
        name: str,
        public: bytes,
        purpose: Purpose,
        now_s: int,
        *,
        hosts: Sequence[str] = (),
        days: int = CERTIFICATE_DAYS,
    ) -> Issued:
        """Issue a certificate.

        Args:
            name: the common name. public: the public key, DER (SubjectPublicKeyInfo). purpose: what for.
            now_s: wall seconds. hosts: a broker's names and addresses. days: how long it holds; below 0: it has ended.

        Raises:
            BadCertificate: the key is of another kind than P-256 or Ed25519.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.x509.oid import ExtendedKeyUsageOID

        issuer, private = self._load()
        subject_key = _public(public)
        begin, end = _span(now_s, days)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if purpose is Purpose.BROKER else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(issuer.subject)
            .public_key(subject_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=True, certifies=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        certificate = builder.sign(private, hashes.SHA256())
        return Issued(_pem(certificate), certificate.serial_number, int(end.timestamp()))

    def revocations(self, serials: Iterable[int], now_s: int) -> bytes:
        """Return a revocation list (PEM) of these serial numbers, for the broker's `crlfile`."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import Encoding

        issuer, private = self._load()
        now = datetime.fromtimestamp(now_s, UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(now - EARLY)
            .next_update(now + timedelta(days=CRL_DAYS))
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM)

    def sign(self, message: bytes) -> bytes:
        """Return the authority's signature (ECDSA, DER) over a message."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        return self._load()[1].sign(message, ec.ECDSA(hashes.SHA256()))

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            private = serialization.load_pem_private_key(self.key, None)
        except (ValueError, TypeError) as error:
            raise BadCertificate(f"the authority's key cannot be read: {error}") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise BadCertificate("the authority's key is of another kind than P-256: make one by `modicum keys ca`")
        return _certificate(self.certificate), private


def verifies(authority: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature (ECDSA, DER) over a message is of an authority (its certificate, PEM)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = _certificate(authority).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def fingerprint(certificate: bytes) -> bytes:
    """Return the SHA-256 (32 bytes) of a certificate (PEM).

    Raises:
        BadCertificate: it is none.
    """
    from cryptography.hazmat.primitives import hashes

    return _certificate(certificate).fingerprint(hashes.SHA256())


def belongs(certificate: bytes, name: str, public: bytes) -> bool:
    """Tell whether a certificate (PEM) is in this common name and for this public key (DER).

    Raises:
        BadCertificate: it is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    found = _certificate(certificate)
    try:
        key = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return key == public and found.subject == _name(name)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"the certificate cannot be read: {error}") from error


def new_key() -> tuple[bytes, bytes]:
    """Return a new key for a certificate: private (PEM, PKCS#8) and public (DER)."""
    private = _new_key()
    return _key_pem(private), _public_der(private)


def public_of(private: bytes) -> bytes:
    """Return the public key (DER) of a private key (PEM).

    Raises:
        BadCertificate: it is none, or of another kind than P-256.
    """
    return _public_der(_private(private))


def signing_request(private: bytes) -> bytes:
    """Return a signing request (CSR, DER) for a private key (PEM). It names nobody: the authority says whose it becomes."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(_private(private), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def requested_key(csr: bytes) -> bytes:
    """Return the public key (DER) of a signing request (DER) whose maker has shown that they hold the private half.

    Raises:
        BadCertificate: it is none, or does not verify.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if len(csr) > MAX_CSR_BYTES:
        raise BadCertificate(f"a signing request of {len(csr):,} bytes is none")
    try:
        request = x509.load_der_x509_csr(csr)
        if not request.is_signature_valid:
            raise BadCertificate("the signing request is not signed by its own key")
        public = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"the signing request cannot be read: {error}") from error
    _public(public)
    return public


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise BadCertificate(f"the certificate's key cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadCertificate("the certificate's key is of another kind than P-256")
    return key


def _new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _public(public: bytes) -> ec.EllipticCurvePublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_der_public_key(public)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"the public key cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadCertificate("the public key is of another kind than P-256")
    return key


def _public_der(private: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key_pem(private: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _certificate(pem: bytes) -> x509.Certificate:
    from cryptography import x509

    if len(pem) > MAX_PEM_BYTES:
        raise BadCertificate(f"a certificate of {len(pem):,} bytes is none")
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise BadCertificate(f"the certificate cannot be read: {error}") from error


def _name(common: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _span(now_s: int, days: int) -> tuple[datetime, datetime]:
    now = datetime.fromtimestamp(now_s, UTC)
    end = now + timedelta(days=days)
    return min(now, end) - EARLY, end


def _usage(*, signs: bool, certifies: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certifies,
        crl_sign=certifies,
        encipher_only=False,
        decipher_only=False,
    )
