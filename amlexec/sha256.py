"""sha256 of short texts without OpenSSL, which `hashlib` takes 2 ms to load.

For large files, hashlib's is several times faster.
"""

from __future__ import annotations

import sys

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256
    except ImportError:  # Python can be built without
        from hashlib import sha256

__all__ = ["sha256"]
