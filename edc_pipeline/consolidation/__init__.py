"""Spool → daily file: dedupe, order, write, verify, certificate.

    micro-batches ─plan─► inputs, ledger ─slices─► rows ─identity─► kept, ordered rows
        ─h5_write─► daily file + certificate ─read_back─► verified ─seal─► in its place

A day that has only grown since goes on from its former file: `growth`.
`verification` re-reads a daily file and trusts nothing; `glance` shows one and trusts it.
Importing this package loads polars, PyTables and h5py (about a second): do it inside functions.
"""

from edc_pipeline.consolidation.after_retention import what_it_lacks
from edc_pipeline.consolidation.certificate import (
    Certificate,
    NoCertificate,
    StateOfDay,
    read_certificate,
)
from edc_pipeline.consolidation.day_state import sealing_ns, state_of_day
from edc_pipeline.consolidation.difference import Difference, difference
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.findings import Finding, Verification
from edc_pipeline.consolidation.glance import Summary, summary
from edc_pipeline.consolidation.held import not_held
from edc_pipeline.consolidation.identity import Rules, identity_rules
from edc_pipeline.consolidation.make import Consolidated, consolidate
from edc_pipeline.consolidation.names import CODECS, ORDERS, Codec, Order, daily_file
from edc_pipeline.consolidation.progress import Progress, told_every
from edc_pipeline.consolidation.retention import Retired, retire
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.consolidation.wish import bytes_of

__all__ = [
    "CODECS",
    "ORDERS",
    "CannotConsolidate",
    "Certificate",
    "Codec",
    "Consolidated",
    "Difference",
    "Finding",
    "NoCertificate",
    "Order",
    "Progress",
    "Retired",
    "Rules",
    "StateOfDay",
    "Summary",
    "Verification",
    "bytes_of",
    "consolidate",
    "daily_file",
    "difference",
    "identity_rules",
    "not_held",
    "read_certificate",
    "retire",
    "sealing_ns",
    "state_of_day",
    "summary",
    "told_every",
    "verify",
    "what_it_lacks",
]
