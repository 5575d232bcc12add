"""sha256 of short texts without OpenSSL, which `hashlib` takes 2 ms to load.

For large files, hashlib's is several times faster.
"""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256  # since Python 3.12
    except ImportError:
        try:
            from _sha256 import sha256
        except ImportError:  # Python can be built without
            from hashlib import sha256

__all__ = ["sha256"]
