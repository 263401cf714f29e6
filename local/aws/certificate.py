"""The local cloud's TLS certificate, and the bundle that makes its programs trust it.

Made with the `cryptography` library and not with the openssl program: a machine may not have one.
"""

import datetime
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 397


@dataclass(frozen=True)
class Certificate:
    """Paths of the PEM files of one cloud."""

    certificate: Path
    key: Path
    bundle: Path
    """The machine's own authorities followed by `certificate`: the value of the *_CA_BUNDLE variables."""


def ensure_certificate(folder: Path, region: str) -> Certificate:
    """Return the certificate in `folder`, made on first use and valid for localhost, 127.0.0.1 and ::1."""
    paths = Certificate(folder / "server.crt", folder / "server.key", folder / "ca-bundle.pem")
    if not paths.bundle.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _make(paths, region)
    return paths


def _make(paths: Certificate, region: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local-aws")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.DNSName("*.localhost"),
        # The host that a user pool's tokens name as their issuer.
        x509.DNSName(f"cognito-idp.{region}.amazonaws.com"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths.key.touch(mode=0o600)
    paths.key.write_bytes(private)
    paths.certificate.write_bytes(pem)
    paths.bundle.write_bytes(_machine_authorities() + b"\n" + pem)


def _machine_authorities() -> bytes:
    """Read the authorities that this machine trusts: those of SSL_CERT_FILE, else the usual ones."""
    named = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    path = Path(named) if named and Path(named).is_file() else Path(certifi.where())
    return path.read_bytes()
