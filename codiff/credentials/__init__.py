"""Content Credentials: a signed record in a picture of how it was made."""

from codiff.credentials.identity import Identity, open_identity
from codiff.credentials.signing import Origin, read_origin, signed

__all__ = ["Identity", "Origin", "open_identity", "read_origin", "signed"]
