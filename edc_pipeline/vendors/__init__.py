"""The vendors by name. A new vendor is one line here, one file or folder, one fixture folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edc_pipeline.vendors.contract import Vendor
from edc_pipeline.vendors.tiingo import VENDOR as _TIINGO

VENDORS: Final[Mapping[str, Vendor]] = {vendor.name: vendor for vendor in (_TIINGO,)}
