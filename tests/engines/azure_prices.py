"""Azure's public list of prices, as far as it is about Container Instances: some rows of its answer.

The names of meters, their units and the form of a row are Azure's; the amounts are those of East US in 2026.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["PATH", "answer"]

PATH = "/api/retail/prices"
_FILTER = re.compile(
    r"serviceName eq 'Container Instances' and armRegionName eq '([a-z0-9]+)' and priceType eq 'Consumption'"
)
_METERS = (
    ("Container Instances", "Standard", "Standard Windows Software Duration", "1 Second", 0.000012),
    ("Container Instances", "Standard Spot", "Standard Spot vCPU Duration", "1 Hour", 0.01215),
    ("Container Instances", "Standard", "Standard vCPU Duration", "1 Hour", 0.0405),
    ("Container Instances", "Standard", "Standard Memory Duration", "1 GB Hour", 0.00445),
    ("Container Instances with GPU", "K80", "K80 vGPU Duration", "100 Seconds", 0.0122),
    ("Container Instances with GPU", "K80", "vCPU Duration", "100 Seconds", 0.00125),
    ("Container Instances with GPU", "K80", "Memory Duration", "100 GB Seconds", 0.00014),
)


def answer(query: dict[str, list[str]], headers: Any) -> tuple[int, Any]:
    """Status and answer; the list takes no login."""
    found = _FILTER.fullmatch(query.get("$filter", [""])[0])
    if found is None or set(query) != {"$filter"} or "Authorization" in headers:
        return 400, {"Error": {"Code": "BadRequest", "Message": "Invalid OData parameters supplied"}}
    rows = [
        {
            "currencyCode": "USD",
            "tierMinimumUnits": 0.0,
            "retailPrice": price,
            "unitPrice": price,
            "armRegionName": found[1],
            "location": "EU West",
            "meterName": meter,
            "productName": product,
            "skuName": sku,
            "serviceName": "Container Instances",
            "unitOfMeasure": unit,
            "type": "Consumption",
            "isPrimaryMeterRegion": True,
            "armSkuName": "",
        }
        for product, sku, meter, unit, price in _METERS
    ]
    return 200, {"BillingCurrency": "USD", "Items": rows, "NextPageLink": None, "Count": len(rows)}
