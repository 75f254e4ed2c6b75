"""Whether a vendor's budget carries what the feeds ask for, with the arithmetic. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

from edc_pipeline.events import AssetClass
from edc_pipeline.vendors.contract import Budget

PollHours = Literal["regular", "extended", "always"]

_DAY_S: Final = 86_400
_SECONDS: Final[Mapping[str, int]] = {"second": 1, "minute": 60, "hour": 3600}
_SHORT: Final[Mapping[str, str]] = {"second": "s", "minute": "min", "hour": "h"}
# Open at the most, in hours of a day and in days of a month.
_STOCKS_H: Final[Mapping[str, float]] = {"regular": 6.5, "extended": 16.0}
_STOCK_DAYS: Final = 23
_FX_DAYS: Final = 23
_MONTH_DAYS: Final = 31
_STOCKS: Final = frozenset({"equity", "etf", "option", "index"})


@dataclass(frozen=True, slots=True)
class Plan:
    """One polled feed as it is set."""

    name: str
    title: str  # of the vendor
    key: str  # what feeds of one key have in common
    symbols: int
    requests: int  # a round of all symbols
    every_s: float
    asset_classes: frozenset[AssetClass]
    hours: PollHours
    budgets: tuple[Budget, ...]
    stated: bool  # the budget stands in the settings

    @property
    def open_s(self) -> float:
        """Of a day, at the most."""
        if self.hours == "always" or not self.asset_classes <= _STOCKS:
            return _DAY_S
        return _STOCKS_H[self.hours] * 3600

    @property
    def open_days(self) -> int:
        """Of a month."""
        if self.hours == "always" or not self.asset_classes <= _STOCKS | {"fx"}:
            return _MONTH_DAYS
        return _STOCK_DAYS if self.asset_classes <= _STOCKS else _FX_DAYS

    def in_a(self, per: str) -> float:
        """Requests in so long, at the most."""
        if per in _SECONDS:
            return self.requests * _SECONDS[per] / self.every_s
        days = 1 if per == "day" else self.open_days
        closes = self.open_s < _DAY_S  # and is asked once more then
        return self.requests * days * (self.open_s / self.every_s + closes)

    def told(self) -> str:
        asked = f"{self.symbols} symbol{'s' * (self.symbols != 1)}"
        if self.requests != self.symbols:
            asked += f" in {self.requests} request{'s' * (self.requests != 1)}"
        return f"{asked} every {self.every_s:g} s"


def plan_mistakes(plans: Sequence[Plan]) -> dict[str, str]:
    """Feed → what is wrong with asking for what it asks for; one feed tells for all of its key."""
    wrong: dict[str, str] = {}
    by_key: dict[str, list[Plan]] = {}
    for plan in plans:
        by_key.setdefault(plan.key, []).append(plan)
    for of_key in by_key.values():
        stated = [plan for plan in of_key if plan.stated]
        if any(plan.budgets != stated[0].budgets for plan in stated):
            names = " and ".join(plan.name for plan in stated)
            wrong[stated[-1].name] = (
                f"budget: {names} share one {stated[0].title} key: state the same budget in each"
            )
            continue
        if (told := _too_much(of_key)) is not None:
            wrong[max(of_key, key=lambda plan: plan.requests / plan.every_s).name] = told
    return wrong


def budgets_of(plans: Sequence[Plan]) -> tuple[Budget, ...]:
    """Of a key: what one of its feeds states, else the free plan's."""
    return next((plan.budgets for plan in plans if plan.stated), plans[0].budgets)


def _too_much(plans: Sequence[Plan]) -> str | None:
    worst: tuple[float, Budget, float] | None = None
    for budget in budgets_of(plans):
        asked = sum(plan.in_a(budget.per) for plan in plans)
        share = asked / budget.requests
        if share > 1 + 1e-9 and (worst is None or share > worst[0]):
            worst = share, budget, asked
    if worst is None:
        return None
    share, budget, asked = worst
    stated = any(plan.stated for plan in plans)
    sums = " + ".join(
        plan.told() if len(plans) == 1 else f"{plan.name}: {plan.told()}" for plan in plans
    )
    allows = f"the stated budget is {budget.requests:,}"
    if not stated:
        allows = f"{plans[0].title}'s free plan allows {budget.requests:,}"
    slower = ", ".join(
        f"{ceil(plan.every_s * share):,} s"
        if len(plans) == 1
        else f"{plan.name} every {ceil(plan.every_s * share):,} s"
        for plan in plans
    )
    remedy = f"set every to {slower}" if len(plans) == 1 else f"ask {slower}"
    return (
        f"{sums} = {ceil(asked):,}/{_SHORT.get(budget.per, budget.per)}, {allows}:"
        f" {remedy} or more, ask for fewer symbols, or state a better plan's budget,"
        f" as budget: {{{budget.per}: {ceil(asked)}}}"
    )
