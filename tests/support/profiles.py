"""How many examples the property tests try: `pytest --hypothesis-profile=nightly` tries 10,000.

A plugin of pytest's has to have registered a profile before the command line is read:
`-p tests.support.profiles`, or an import in a conftest.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__: list[str] = []

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
"""A loaded machine is not what these tests are about."""

settings.register_profile("quick", max_examples=100, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("ci", max_examples=200, deadline=None, suppress_health_check=_SLOW, print_blob=True)
settings.register_profile(
    "nightly", max_examples=10_000, deadline=None, suppress_health_check=_SLOW, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI", "").lower() not in {"", "0", "false"} else "quick")
