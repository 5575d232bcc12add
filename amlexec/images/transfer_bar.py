"""The progress bar of a pull or push of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.docker.images import TransferProgress
    from amlexec.progress import Progress

__all__ = ["transfer_bar"]


def transfer_bar(progress: Progress) -> Callable[[TransferProgress], None]:
    """A callback for `images.pull` and `images.push` that shows the sum over all layers."""
    sizes: dict[str, tuple[int, int]] = {}

    def add(layer: TransferProgress) -> None:
        if layer.total:
            sizes[layer.layer] = (layer.current, layer.total)
            progress.at(sum(done for done, _ in sizes.values()), sum(total for _, total in sizes.values()))

    return add
