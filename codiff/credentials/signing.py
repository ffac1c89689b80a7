"""Signing pictures, and reading what was signed (C2PA specification 2.1, by c2pa-python)."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from codiff.credentials.identity import Identity
from codiff.errors import InputError

RECORD = "org.codiff.generation"
"""Label of the assertion that holds model, conditions and settings."""

_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_NO_THUMBNAIL = {"builder": {"thumbnail": {"enabled": False}}}
_KEPT = 20_000  # bytes of the record's JSON, at most: texts are cut, not refused


@dataclass(frozen=True)
class Origin:
    """What a picture's credentials say.

    Attributes:
        intact: whether the picture and its record are as they were signed.
        signer: name in the signer's certificate.
        trusted: whether a known authority certified the signer; one's own certificate never is.
        edited: whether a photo was edited, rather than a picture made.
        record: model, conditions, settings and seed.
    """

    intact: bool
    signer: str
    trusted: bool
    edited: bool
    record: dict[str, Any]


def can_sign() -> bool:
    """Whether the packages of the extra `provenance` are there."""
    return all(importlib.util.find_spec(name) is not None for name in ("c2pa", "cryptography"))


def signed(png: bytes, record: Mapping[str, Any], identity: Identity, *, version: str, edited: bool = False) -> bytes:
    """A PNG with Content Credentials that say that codiff made it, or edited it, and how.

    Args:
        record: as JSON can hold it.
        version: codiff's.

    Raises:
        InputError: the packages are missing, or the certificate does not fit its key or the purpose.
    """
    c2pa = _c2pa()
    kind = "compositeWithTrainedAlgorithmicMedia" if edited else "trainedAlgorithmicMedia"
    agent = {"name": "codiff", "version": version}
    done = ["c2pa.created", "c2pa.edited"] if edited else ["c2pa.created"]
    actions = [{"action": name, "digitalSourceType": f"{_SOURCE}{kind}", "softwareAgent": agent} for name in done]
    manifest = {
        "claim_generator_info": [agent],
        "format": "image/png",
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": actions}},
            {"label": RECORD, "data": _short(record)},
        ],
    }
    result = io.BytesIO()
    try:
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", identity.certificates, identity.key, None))
        builder = c2pa.Builder(manifest, c2pa.Context(c2pa.Settings.from_dict(_NO_THUMBNAIL)))
        builder.sign(signer, "image/png", io.BytesIO(png), result)
    except c2pa.C2paError as error:
        raise InputError(f"the picture cannot be signed with this certificate and key: {error}") from error
    return result.getvalue()


def read_origin(path: str | Path) -> Origin | None:
    """What the credentials of a picture say; None where it has none.

    Raises:
        InputError: no such file, or the packages are missing.
    """
    c2pa = _c2pa()
    try:
        with Path(path).open("rb") as file:
            told = json.loads(c2pa.Reader(_kind_of(file), file).json())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except c2pa.C2paError:
        return None
    manifest = told["manifests"].get(told.get("active_manifest"), {})
    failures = {each["code"] for each in told.get("validation_status", [])}
    assertions = {each["label"]: each["data"] for each in manifest.get("assertions", [])}
    acted = [data["actions"] for label, data in assertions.items() if label.startswith("c2pa.actions")]
    sources = [action.get("digitalSourceType", "") for actions in acted for action in actions]
    return Origin(
        intact=told.get("validation_state") in ("Valid", "Trusted"),
        signer=manifest.get("signature_info", {}).get("common_name", ""),
        trusted="signingCredential.untrusted" not in failures,
        edited=any(source.endswith("/compositeWithTrainedAlgorithmicMedia") for source in sources),
        record=assertions.get(RECORD, {}),
    )


def _kind_of(file: BinaryIO) -> str:
    """MIME type of a picture by its content; PNG where it is none."""
    try:
        with Image.open(file) as picture:
            return Image.MIME.get(picture.format or "", "image/png")
    except (OSError, ValueError, Image.DecompressionBombError):
        return "image/png"
    finally:
        file.seek(0)


def _short(record: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(record)
    return json.loads(text) if len(text) <= _KEPT else {"cut": text[:_KEPT]}


def _c2pa() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise InputError(
            "Content Credentials need packages that are missing: pip install 'codiff[provenance]'"
        ) from error
    return c2pa
