"""An image of a node of a Slurm cluster: Debian's Slurm, munge and Open MPI on the machine to log in to.

`tests/support/slurm.py` starts clusters of it.
"""

from __future__ import annotations

from . import debian_image, ssh_host, tools

__all__ = ["PACKAGES", "REFERENCE", "is_there", "ready", "remove"]

REFERENCE = "amlexec-test/slurm:1"
PACKAGES = ("munge", "openmpi-bin", "slurm-wlm")


def is_there() -> bool:
    """Whether the engine has the image, made by this recipe."""
    return debian_image.is_there(REFERENCE, _recipe())


def ready() -> None:
    """Make the image anew; what it takes is there. Raises MissingError, ToolError."""
    if not ssh_host.is_there():
        raise tools.MissingError("no Slurm: a machine to log in to is not there either")
    debian_image.make(REFERENCE, _recipe(), "a machine with Slurm", ssh_host.with_packages(PACKAGES))


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    debian_image.remove(REFERENCE)


def _recipe() -> str:
    return debian_image.recipe(__file__, ssh_host.__file__)
