"""Tar archives as every engine takes them."""

from __future__ import annotations

import tarfile

__all__ = ["Tar"]


class Tar(tarfile.TarFile):
    """A tar archive that is written without padding after its end.

    Podman stops reading at the end; padding that comes later is then an error of its own ("broken pipe").
    """

    def close(self) -> None:
        """See `TarFile.close`."""
        if self.mode == "w":
            # Padding fills up to a record: with the end, which is two blocks, this is a whole one.
            self.offset = -2 * tarfile.BLOCKSIZE % tarfile.RECORDSIZE
        super().close()
