"""The local cloud's TLS certificate, and the bundle that makes its programs trust it."""

import datetime
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import certifi

VALID_DAYS = 397


@dataclass(frozen=True)
class Certificate:
    """Paths of the PEM files of one cloud."""

    certificate: Path
    key: Path
    authority: Path
    """The cloud's own authority, which signed `certificate`; its key was never written."""
    bundle: Path
    """The machine's own authorities followed by `authority`: the value of the *_CA_BUNDLE variables."""


def ensure_certificate(folder: Path, region: str) -> Certificate:
    """Return the certificate in `folder`, made on first use and valid for localhost, 127.0.0.1 and ::1."""
    paths = Certificate(
        folder / "server.crt", folder / "server.key", folder / "authority.crt", folder / "ca-bundle.pem"
    )
    if not paths.bundle.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _make(paths, region)
    return paths


def _make(paths: Certificate, region: str) -> None:
    import trustme  # noqa: PLC0415 (the cloud's own processes need the paths only)

    # The authority signs this one certificate: nobody has its key afterwards.
    authority = trustme.CA(organization_name="local-aws", path_length=0)
    now = datetime.datetime.now(datetime.UTC)
    issued = authority.issue_cert(
        "localhost",
        "*.localhost",
        # The host that a user pool's tokens name as their issuer.
        f"cognito-idp.{region}.amazonaws.com",
        "127.0.0.1",
        "::1",
        common_name="local-aws",
        organization_name="local-aws",
        not_before=now - datetime.timedelta(hours=1),
        not_after=now + datetime.timedelta(days=VALID_DAYS),
    )
    (certificate,) = issued.cert_chain_pems
    paths.key.touch(mode=0o600)
    issued.private_key_pem.write_to_path(paths.key)
    certificate.write_to_path(paths.certificate)
    authority.cert_pem.write_to_path(paths.authority)
    paths.bundle.write_bytes(_machine_authorities() + b"\n" + authority.cert_pem.bytes())


def _machine_authorities() -> bytes:
    """Read the authorities that this machine trusts: those of SSL_CERT_FILE, else the usual ones."""
    named = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    path = Path(named) if named and Path(named).is_file() else Path(certifi.where())
    return path.read_bytes()
