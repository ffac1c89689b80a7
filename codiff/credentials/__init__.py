"""Content Credentials: a signed record in a picture of how it was made."""

from codiff.credentials.identity import Identity, open_identity
from codiff.credentials.signing import Origin, can_sign, read_origin, signed

__all__ = ["Identity", "Origin", "can_sign", "open_identity", "read_origin", "signed"]
