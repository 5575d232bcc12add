"""What a container costs an hour, by Azure's public list of prices. No login is needed, and none is sent."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from amlexec.azure.clouds import prices_address
from amlexec.azure.sdk import asked, module
from amlexec.errors import TargetError

__all__ = ["Price", "Size", "per_hour"]

_PATH = "/api/retail/prices"
_SERVICE = "Container Instances"
_HOURS = {
    "1 Hour": 1.0,
    "1 GB Hour": 1.0,
    "1 Second": 3600.0,
    "1 GB Second": 3600.0,
    "100 Seconds": 36.0,
    "100 GB Seconds": 36.0,
}
"""How many of a unit an hour has."""
_CURRENCY = re.compile(r"[A-Z]{3}")
_QUICK: dict[str, Any] = {"retry_total": 1, "connection_timeout": 5, "read_timeout": 15}
_MOST = 1e6
"""More than this an hour is no price."""


class Size(NamedTuple):
    """What a container has."""

    cores: float
    memory_gb: float
    gpu: str = ""
    gpu_count: int = 0


class Price(NamedTuple):
    """An amount for an hour, before discounts and taxes."""

    amount: float
    currency: str


def per_hour(manager: str, region: str, size: Size) -> Price:
    """The price of a container of that size.

    Raises:
        UnreachableError: the list does not answer.
        TargetError: it has no price for this.
    """
    address = prices_address(manager)
    if not address:
        raise TargetError("this cloud of Azure has no public list of prices")
    rows = _rows(address, region)
    sku = size.gpu or "Standard"
    prefix = "" if size.gpu else "Standard "
    wanted = [(f"{prefix}vCPU Duration", size.cores), (f"{prefix}Memory Duration", size.memory_gb)]
    if size.gpu:
        wanted.append((f"{size.gpu} vGPU Duration", float(size.gpu_count)))
    amount, currency = 0.0, ""
    for meter, count in wanted:
        row = next((row for row in rows if (row.get("skuName"), row.get("meterName")) == (sku, meter)), {})
        price, hours = _number(row.get("retailPrice")), _HOURS.get(str(row.get("unitOfMeasure")))
        if price is None or hours is None:
            raise TargetError(f"the list has no price of {meter!r} in {region}", where=address)
        amount += count * price * hours
        currency = str(row.get("currencyCode") or "")
    return Price(amount, currency if _CURRENCY.fullmatch(currency) else "(of an unknown currency)")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= _MOST else None


def _rows(address: str, region: str) -> list[dict[str, Any]]:
    chosen = f"serviceName eq '{_SERVICE}' and armRegionName eq '{region}' and priceType eq 'Consumption'"
    client = module("azure.core").PipelineClient(address, **_QUICK)
    request = module("azure.core.rest").HttpRequest("GET", f"{address}{_PATH}", params={"$filter": chosen})
    with asked(address), client:
        answer = client.send_request(request)
        answer.raise_for_status()
        try:
            found = answer.json()["Items"]
            rows = [row for row in found if isinstance(row, dict)]
        except (ValueError, KeyError, TypeError):
            raise TargetError("the list of prices can't be read", where=address) from None
    return rows
