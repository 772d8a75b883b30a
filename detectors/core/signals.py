"""The plain numbers that a rule can compare with a limit, or learn the usual level of: `signal:` in a rule.

A new one is an entry of SIGNALS. It is a mean (a part of what was counted), a rate (an amount over time) or a quantile
(of a histogram).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from detectors.core.columns import ENDINGS, GOOD_ENDINGS, MODEL_ENDINGS, OUTCOMES, PROMPT, Bools, Entries, Floats, Tick


@dataclass(frozen=True)
class Mean:
    """The part over the units, each (series,) of one tick."""

    part: Callable[[Tick], Floats]
    units: Callable[[Tick], Floats] = lambda tick: tick.count


@dataclass(frozen=True)
class Rate:
    """An amount, (series,) of one tick, told over so many minutes; its units are those that told it."""

    amount: Callable[[Tick], Floats]
    minutes: float = 1.0
    units: Callable[[Tick], Floats] = lambda tick: tick.count


@dataclass(frozen=True)
class Quantile:
    """A quantile of a histogram; its units are what the histogram counted."""

    share: float
    histogram: Callable[[Tick], Entries]


@dataclass(frozen=True)
class Signal:
    """One plain number.

    subject      what a page calls it
    unit         what it is told in: `ratio` (0 to 1), `s`, `usd`, `per minute`; empty where the metric knows
    of           how it is made from the ticks of a window
    of_metric    whether the rule must select a metric for it
    of_sessions  whether its units are closed sessions; else they are calls, or points
    operations   of the cells that can have it; empty where all calls and sessions can
    by_class     makes `of` by the classes of outcomes; None where it is the same for all
    """

    subject: str
    unit: str
    of: Mean | Rate | Quantile
    of_metric: bool = False
    of_sessions: bool = False
    by_class: Callable[[int, int], Mean] | None = None
    operations: tuple[str, ...] = ()

    def of_classes(self, goods: int, unmapped: int) -> "Signal":
        """The same where classes of outcomes below `goods` are good, and the last one is of no class."""
        return self if self.by_class is None else replace(self, of=self.by_class(goods, unmapped))


def _with_outcome(tick: Tick) -> Floats:
    """(series,) closed sessions that have an outcome."""
    return _summed(tick, np.ones(len(tick.outcome.bucket), np.bool_))


def _bad_outcomes(goods: int, unmapped: int) -> Mean:
    """The share of those that ended badly. Those of no class are among all and not among the bad: what are they?"""

    def bad(tick: Tick) -> Floats:
        return _summed(tick, (tick.outcome.bucket >= goods) & (tick.outcome.bucket < unmapped))

    return Mean(bad, _with_outcome)


def _that_cost(tick: Tick) -> Floats:
    """(series,) calls; or one for a tick in which metrics state cost of none."""
    return np.where(tick.count > 0, tick.count, tick.cost_usd > 0).astype(float)


def _summed(tick: Tick, which: Bools) -> Floats:
    at = np.searchsorted(tick.series, tick.outcome.cell)
    return np.bincount(at[which], tick.outcome.count[which], len(tick.series)).astype(float)


def _mixed(tick: Tick, mix: Entries, which: Bools) -> Floats:
    at = np.searchsorted(tick.series, mix.cell)
    return np.bincount(at[which], mix.count[which], len(tick.series)).astype(float)


def _ended(*names: str) -> Callable[[Tick], Floats]:
    """(series,) calls that ended with one of these; of a tick."""
    places = [ENDINGS.index(name) for name in names]
    return lambda tick: _mixed(tick, tick.ending, np.isin(tick.ending.bucket, places))


_TOLD = _ended(*MODEL_ENDINGS)
"""Calls that tell what they ended with."""


_RETRIEVED = _ended("nothing", "short", "found")
"""Retrievals that tell what they found."""


def _prompt(*names: str) -> Callable[[Tick], Floats]:
    """(series,) input tokens of these kinds; of a tick."""
    places = [PROMPT.index(name) for name in names]
    return lambda tick: _mixed(tick, tick.prompt, np.isin(tick.prompt.bucket, places))


_MODELS, _SESSIONS = ("llm", "embedding"), ("session",)
SPENDING = ("spend", "session", "llm", "embedding", "tool", "retrieval", "agent", "workflow", "guardrail",
          "classification", "evaluation", "other")  # fmt: skip
"""Operations of cells that can bear dollars; `spend` is that of dollars of no call."""
SIGNALS: Mapping[str, Signal] = {
    "error_ratio": Signal("failed", "ratio", Mean(lambda tick: tick.failed)),
    "latency_p95": Signal("p95", "s", Quantile(0.95, lambda tick: tick.duration)),
    "latency_p99": Signal("p99", "s", Quantile(0.99, lambda tick: tick.duration)),
    "latency_p50": Signal("p50", "s", Quantile(0.5, lambda tick: tick.duration)),
    "cost_per_session_p95": Signal(
        "p95 of a session's cost",
        "usd",
        Quantile(0.95, lambda tick: tick.cost),
        of_sessions=True,
        operations=_SESSIONS,
    ),
    "cost_per_session_p99": Signal(
        "p99 of a session's cost",
        "usd",
        Quantile(0.99, lambda tick: tick.cost),
        of_sessions=True,
        operations=_SESSIONS,
    ),
    "spend_per_hour": Signal(
        "spend an hour", "usd", Rate(lambda tick: tick.cost_usd, 60, _that_cost), operations=SPENDING
    ),
    "bad_outcome_share": Signal(
        "bad outcomes",
        "ratio",
        _bad_outcomes(1, len(OUTCOMES) - 1),
        of_sessions=True,
        by_class=_bad_outcomes,
        operations=("session", "evaluation"),
    ),
    "unpriced_share": Signal(
        "calls without a known price", "ratio", Mean(lambda tick: tick.unpriced), operations=(*_MODELS, "session")
    ),
    "calls_per_minute": Signal("calls a minute", "per minute", Rate(lambda tick: tick.count)),
    "bad_ending_share": Signal(
        "bad ends", "ratio", Mean(_ended(*MODEL_ENDINGS[GOOD_ENDINGS:]), _TOLD), operations=_MODELS
    ),
    "truncated_share": Signal("truncated answers", "ratio", Mean(_ended("length"), _TOLD), operations=_MODELS),
    "empty_share": Signal("empty answers", "ratio", Mean(_ended("empty"), _TOLD), operations=_MODELS),
    "refused_share": Signal("refusals", "ratio", Mean(_ended("content_filter", "refusal"), _TOLD), operations=_MODELS),
    "cancelled_share": Signal("cancelled calls", "ratio", Mean(_ended("cancelled"), _TOLD), operations=_MODELS),
    "rate_limited_share": Signal("rate limits", "ratio", Mean(_ended("rate_limit"), _TOLD), operations=_MODELS),
    "timeout_share": Signal("timeouts", "ratio", Mean(_ended("timeout"), _TOLD), operations=_MODELS),
    "overloaded_share": Signal(
        "errors of the provider", "ratio", Mean(_ended("overloaded"), _TOLD), operations=_MODELS
    ),
    "rejected_share": Signal("rejected requests", "ratio", Mean(_ended("auth", "invalid"), _TOLD), operations=_MODELS),
    "blocked_share": Signal(
        "blocks", "ratio", Mean(_ended("blocked"), _ended("blocked", "passed")), operations=("guardrail",)
    ),
    "first_token_p95": Signal(
        "p95 to the first token", "s", Quantile(0.95, lambda tick: tick.first_token), operations=("llm",)
    ),
    "first_token_p99": Signal(
        "p99 to the first token", "s", Quantile(0.99, lambda tick: tick.first_token), operations=("llm",)
    ),
    "first_token_p50": Signal(
        "p50 to the first token", "s", Quantile(0.5, lambda tick: tick.first_token), operations=("llm",)
    ),
    "repeat_share": Signal(
        "repeated calls", "ratio", Mean(_ended("repeat"), _ended("repeat", "new_call")), operations=("tool",)
    ),
    "empty_retrieval_share": Signal(
        "empty retrievals", "ratio", Mean(_ended("nothing"), _RETRIEVED), operations=("retrieval",)
    ),
    "short_retrieval_share": Signal(
        "retrievals that found too little",
        "ratio",
        Mean(_ended("nothing", "short"), _RETRIEVED),
        operations=("retrieval",),
    ),
    "retrieval_score_p50": Signal(
        "median of the best score", "", Quantile(0.5, lambda tick: tick.score), operations=("retrieval",)
    ),
    "cache_read_share": Signal(
        "input from the cache", "ratio", Mean(_prompt("read"), _prompt(*PROMPT)), operations=_MODELS
    ),
    "value": Signal("value", "", Mean(lambda tick: tick.amount), of_metric=True),
    "per_minute": Signal("per minute", "per minute", Rate(lambda tick: tick.amount), of_metric=True),
    "p50": Signal("p50", "", Quantile(0.5, lambda tick: tick.duration), of_metric=True),
    "p95": Signal("p95", "", Quantile(0.95, lambda tick: tick.duration), of_metric=True),
    "p99": Signal("p99", "", Quantile(0.99, lambda tick: tick.duration), of_metric=True),
}
"""By the word that a rule writes, in the order of help and error texts."""
