"""Who signs: a certificate that the user gives, or one of this installation's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from codiff.errors import InputError
from codiff.files import locked, written_aside

FOLDER_VARIABLE = "CODIFF_CREDENTIALS"
"""Environment variable: folder of a certificate chain `certificate.pem`, the signer's first, and its key `key.pem`."""

_YEARS = 10


@dataclass(frozen=True)
class Identity:
    """What signatures are made with.

    Attributes:
        certificates: the chain, PEM, the signer's first.
        key: its private key (ECDSA on P-256), PEM.
    """

    certificates: bytes
    key: bytes


def open_identity() -> Identity:
    """The identity in the folder that `CODIFF_CREDENTIALS` names, or this installation's, made when first asked for.

    One's own certificate proves that a picture is as it was signed, not who signed it: viewers call it untrusted. An
    organisation gives its own.

    Raises:
        InputError: the packages for signing are missing, or the files are.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    folder = Path(given).expanduser() if given else _own_folder()
    if not given and not folder.exists():
        with locked(folder, folder.with_name(f".{folder.name}.lock")):
            if not folder.exists():
                _make(folder)
    try:
        return Identity((folder / "certificate.pem").read_bytes(), (folder / "key.pem").read_bytes())
    except OSError as error:
        hint = f"check {FOLDER_VARIABLE}" if given else "remove the folder, and a new identity is made"
        raise InputError(f"no identity to sign with: {error.filename}: {error.strerror}; {hint}") from error


def _own_folder() -> Path:
    configuration = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return configuration / "codiff" / "credentials"


def _make(folder: Path) -> None:
    """An authority and a signer certified by it, since a signer must not certify itself."""
    _, _, serialization, ec = _cryptography()
    authority, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("codiff, this installation", authority, None)
    leaf = _certificate("codiff", signer, (root, authority))
    pem = serialization.Encoding.PEM
    key = signer.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with written_aside(folder) as partial:
        partial.mkdir(mode=0o700)
        (partial / "certificate.pem").write_bytes(leaf.public_bytes(pem) + root.public_bytes(pem))
        descriptor = os.open(partial / "key.pem", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)


def _certificate(name: str, key: Any, issuer: tuple[Any, Any] | None) -> Any:
    """A certificate for a key; its own authority without an issuer (certificate, key)."""
    x509, hashes, _, _ = _cryptography()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signing = key if issuer is None else issuer[1]
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=0 if issuer is None else None), True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=issuer is not None,
                key_cert_sign=issuer is None,
                crl_sign=issuer is None,
                decipher_only=False,
                **usage,
            ),
            True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False)
    )
    if issuer is not None:
        purpose = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, False)
    return builder.sign(signing, hashes.SHA256())


def _cryptography() -> tuple[Any, Any, Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise InputError("signing needs packages that are missing: pip install 'codiff[provenance]'") from error
    return x509, hashes, serialization, ec
