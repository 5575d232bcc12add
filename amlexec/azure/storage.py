"""The files of a run in a storage account: a container of its own, and an address for the run alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from amlexec.azure.sdk import RETRIES, AzureAnswerError, asked, credential, module

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amlexec.azure.clouds import Place

_Value = TypeVar("_Value")

__all__ = ["BLOCK", "VALID_DAYS", "RunStorage"]

_VERSION = "2022-11-02"
"""Of the protocol. The newest one is not known to every cloud and emulator."""
VALID_DAYS = 7
"""For so long a run can use its address: Azure allows no more."""
_CLOCK_TOLERANCE = timedelta(minutes=15)
BLOCK = 4 << 20
"""Bytes that are read at once."""


class RunStorage:
    """The storage container of one run."""

    def __init__(self, place: Place) -> None:
        """No I/O, nothing imported."""
        self._endpoint, self._name = place.storage, place.group
        self.address = f"{place.storage}/{place.group}"

    @cached_property
    def _service(self) -> Any:
        made = module("azure.storage.blob").BlobServiceClient
        # In single pieces of its own: what is read is followed by its offset.
        return made(
            self._endpoint,
            credential=credential(),
            api_version=_VERSION,
            max_single_get_size=BLOCK,
            max_chunk_get_size=BLOCK,
            max_block_size=BLOCK,
            max_single_put_size=BLOCK,
            **RETRIES,
            # Its own policy waits 15 s before it tries again.
            initial_backoff=0.5,
            increment_base=2,
            random_jitter_range=0,
        )

    @cached_property
    def _container(self) -> Any:
        return self._service.get_container_client(self._name)

    def create(self, metadata: dict[str, str], name: str, source: IO[bytes]) -> None:
        """Create the container, with one blob. Idempotent. Raises as `asked` does."""
        try:
            with asked(self.address):
                self._container.create_container(metadata=metadata)
        except AzureAnswerError as error:
            if error.code != "ContainerAlreadyExists":
                raise
        self.put(name, source)

    def metadata(self) -> dict[str, str] | None:
        """What the container was created with; None if it does not exist."""

        def get() -> dict[str, str]:
            return dict(self._container.get_container_properties().metadata or {})

        return self._if_there(get)

    def delete(self, metadata: dict[str, str] | None = None) -> bool:
        """See `Storage.delete`."""
        if metadata is not None:
            found = self.metadata()
            if found is None:
                return False
            if not metadata.items() <= found.items():
                raise PermissionError
        self._if_there(self._container.delete_container)
        return True

    def put(self, name: str, source: bytes | IO[bytes]) -> None:
        """Write a blob."""
        with asked(self.address):
            self._container.upload_blob(name, source, overwrite=True)

    def get(self, name: str, limit: int) -> bytes | None:
        """A small blob, or its first `limit` bytes; None if it does not exist."""

        def get() -> bytes:
            return bytes(self._container.download_blob(name, offset=0, length=limit).readall())

        return self._if_there(get)

    def read(self, name: str, start: int) -> bytes:
        """The next bytes of a blob, at most `BLOCK`; none if it does not exist, or has no more."""

        def get() -> bytes:
            return bytes(self._container.download_blob(name, offset=start, length=BLOCK).readall())

        try:
            return self._if_there(get) or b""
        except AzureAnswerError as error:
            if error.status == 416:  # it is not longer than that
                return b""
            raise

    def read_several(self, wanted: Sequence[tuple[str, int]]) -> list[bytes]:
        """See `Storage.read_several`."""
        return [self.read(name, start) for name, start in wanted]

    def address_for_run(self) -> str:
        """An address with which a run can read and write in this container, and nowhere else.

        It is a secret, and valid for a week. Azure calls it a user delegation SAS; the SDK would sign it for
        the newest version of the protocol.
        """
        now = datetime.now(timezone.utc)
        begin, end = now - _CLOCK_TOLERANCE, now + timedelta(days=VALID_DAYS) - _CLOCK_TOLERANCE
        with asked(self.address):
            key = self._service.get_user_delegation_key(begin, end)
        account = self._service.account_name
        values = {
            "sp": "racw",
            "st": f"{begin:%Y-%m-%dT%H:%M:%SZ}",
            "se": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "skoid": key.signed_oid,
            "sktid": key.signed_tid,
            "skt": key.signed_start,
            "ske": key.signed_expiry,
            "sks": key.signed_service,
            "skv": key.signed_version,
            "spr": "https",
            "sv": _VERSION,
            "sr": "c",
        }
        of_key = [values[name] for name in ("skoid", "sktid", "skt", "ske", "sks", "skv")]
        # https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas: empty lines are
        # values that amlexec does not use.
        signed = [
            values["sp"],
            values["st"],
            values["se"],
            f"/blob/{account}/{self._name}",
            *of_key,
            "",
            "",
            "",
        ]
        signed += ["", values["spr"], values["sv"], values["sr"], "", "", "", "", "", "", ""]
        digest = hmac.new(base64.b64decode(key.value), "\n".join(signed).encode(), hashlib.sha256).digest()
        values["sig"] = base64.b64encode(digest).decode()
        return f"{self.address}?{urlencode(values)}"

    def _if_there(self, action: Callable[[], _Value]) -> _Value | None:
        try:
            with asked(self.address):
                return action()
        except AzureAnswerError as error:
            if error.status == 404 or error.code == "ContainerBeingDeleted":
                return None
            raise
