"""What a verification finds, in words."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from edc_pipeline.consolidation.certificate import Certificate

NAMED: Final = 3  # so many examples are named in a finding

Severity = Literal["error", "warning"]


class Finding(msgspec.Struct, frozen=True):
    severity: Severity
    check: str  # file, certificate, table, content, order, day, identity, counts, ledger, …
    message: str


class Verification(msgspec.Struct, kw_only=True):
    path: str
    certificate: Certificate | None = None
    rows: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(f.severity == "error" for f in self.findings)

    def error(self, check: str, message: str) -> None:
        self.findings.append(Finding("error", check, message))

    def warn(self, check: str, message: str) -> None:
        self.findings.append(Finding("warning", check, message))
