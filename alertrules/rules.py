"""A rule as a type: what may be written together, with what meaning and what default; `fields.py` reads each field.

Validators raise ValueError with a whole sentence (what was read; what is expected): parse.py only adds where.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from alertrules.compared import OF_OTHERS, compared
from alertrules.fields import (
    GROUP_LABELS,
    SPANS,
    Annotations,
    BudgetText,
    BudgetWritten,
    DetectorWord,
    DurationNs,
    EffectText,
    EffectWritten,
    EveryNs,
    ExpireAfterNs,
    FixedLabels,
    LabelNames,
    LimitText,
    LimitUnread,
    Name,
    Objective,
    Season,
    Selection,
    Severity,
    SeverityWord,
    SignalWord,
    Spans,
    Written,
    signal_word,
)
from alertrules.fitting import detector_of, fitting, is_of, is_share, limit_of, may_be, of_some, why_no_budget
from alertrules.lifecycle import Holds
from alertrules.quantities import Effect, budget_per_week, effect, level
from alertrules.select import Matcher, Matchers, Operator, matches
from alertrules.summary import template
from detectors.core.columns import CELL_LABELS, TICK_NS
from detectors.core.contract import Terms
from detectors.core.descriptor import Descriptor, descriptor
from detectors.core.signals import SIGNALS, Quantile

__all__ = ["GROUP_LABELS", "Annotations", "DurationNs", "Name", "Override", "Rule", "Severity", "Written"]

_MINUTE_NS = 60 * 1_000_000_000
_SESSIONS = Matcher("operation", Operator.EQUAL, "session")
_BY = ("tenant", "agent")
TRACE = "trace"
"""The label that tells open sessions apart."""
_OF_SOME = {"every_ns": "takes_every", "spans": "takes_objective", "season": "takes_season"}
"""Fields that rules of some detectors may have, and what such a detector takes."""


class Override(Written):
    """Something else for some of the series; the first that matches counts. Its limits are read by the rule."""

    match: Selection
    effect: EffectText | None = None
    budget_per_week: BudgetText | None = Field(default=None, alias="budget")
    above: LimitUnread | None = None
    below: LimitUnread | None = None


class Rule(Written):
    """One alerting rule: a detector over a view (`select`, `by`), what it may cost, and whom it concerns."""

    name: Name = Field(alias="alert")
    detector: DetectorWord
    select: Selection = ()
    by: LabelNames = Field(default=_BY, validate_default=True)
    series_max: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=10_000, validate_default=True)
    every_ns: EveryNs | None = Field(default=None, alias="every")
    grace_ns: DurationNs | None = Field(default=None, alias="grace")
    objective: Objective | None = Field(default=None, validate_default=True)
    spans: Spans | None = Field(default=None, alias="windows")
    budget_per_week: BudgetWritten | None = Field(default=None, alias="budget", validate_default=True)
    effect: EffectWritten | None = Field(default=None, validate_default=True)
    signal: SignalWord | None = Field(default=None, validate_default=True)
    below: LimitText | None = None
    above: LimitText | None = Field(default=None, validate_default=True)
    window_ns: DurationNs = Field(default=5 * _MINUTE_NS, alias="window", validate_default=False)
    season: Season | None = None
    repeats: Annotated[int, Field(ge=4, le=60_000)] | None = None
    cost: LimitUnread | None = Field(default=None, validate_default=True)
    at_least: float = Field(default=1.0, gt=0, le=1e12, strict=False)
    for_ns: DurationNs = Field(default=0, alias="for")
    keep_firing_for_ns: DurationNs = Field(default=30 * _MINUTE_NS, alias="keep_firing_for")
    expire_after_ns: ExpireAfterNs = Field(default=360 * _MINUTE_NS, alias="expire_after")
    severity: SeverityWord = Severity.PAGE
    labels: FixedLabels = ()
    annotations: Annotations = Annotations()
    was: Name | None = None
    overrides: Annotated[tuple[Override, ...], Field(strict=False)] = ()

    @field_validator("was", mode="after")
    @classmethod
    def _was(cls, was: str | None, info: ValidationInfo) -> str | None:
        if was is not None and was == info.data.get("name"):
            raise ValueError(f'"{was}" is the name that the rule has; write the one that it had, or leave it out')
        return was

    @field_validator("select", mode="after")
    @classmethod
    def _select(cls, select: Matchers, info: ValidationInfo) -> Matchers:
        if select and is_of(info, "of_pipeline"):
            raise ValueError("it judges all telemetry together; leave select out")
        return select

    @field_validator("by", mode="before")
    @classmethod
    def _labels_of_series(cls, by: object, info: ValidationInfo) -> object:
        if not is_of(info, "of_pipeline"):
            return by
        if isinstance(by, list) and by:  # The default is a tuple.
            raise ValueError("it judges all telemetry together; leave by out")
        return ()

    @field_validator("by", mode="after")
    @classmethod
    def _compared(cls, by: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        either = getattr(detector_of(info), "compares", ())
        if either and compared(by, either) is None:
            example = f"[tenant, agent, operation, {either[0]}]"
            for label, other in OF_OTHERS.items():
                if label in by:
                    example = f"[tenant, agent, operation, {other}, {label}], as what answers is compared by {other}"
            raise ValueError(f"it compares what differs in one of {', '.join(either)}; write {example}")
        if is_of(info, "of_running"):
            if not set(by) <= {"tenant", "agent"}:
                raise ValueError("of an open session only tenant and agent are known; write [tenant, agent]")
            return (*by, TRACE)  # Each session that pages has a series of its own.
        return by

    @field_validator("series_max", mode="after")
    @classmethod
    def _series_max(cls, written: int, info: ValidationInfo) -> int:
        described = detector_of(info)
        usual = described.series_usual if described else None
        if usual is None:
            return written
        if written == cls.model_fields["series_max"].default:
            return usual
        if written > 10 * usual:
            raise ValueError(f"it keeps four weeks of every series; write at most {10 * usual}")
        return written

    @field_validator(*_OF_SOME, mode="before")
    @classmethod
    def of_some(cls, text: object, info: ValidationInfo) -> object:
        return of_some(info, text, lambda written: written, may_be(info, _OF_SOME[str(info.field_name)]))

    @field_validator("grace_ns", mode="after")
    @classmethod
    def _grace(cls, grace_ns: int | None, info: ValidationInfo) -> int | None:
        every_ns = info.data.get("every_ns")
        if grace_ns is not None and every_ns is None and "every_ns" in info.data:
            raise ValueError("it is how much later than `every` something may come; write every: 24h, or leave it out")
        if grace_ns is not None and every_ns is not None and not _MINUTE_NS <= grace_ns <= 1440 * _MINUTE_NS:
            raise ValueError("grace is from 1m to 1d; write 1h")
        return grace_ns

    @field_validator("objective", mode="before")
    @classmethod
    def _objective(cls, text: object, info: ValidationInfo) -> object:
        takes = is_of(info, "takes_objective")
        if takes and text is None:
            raise ValueError("is missing; write which share must be good: 99.5%")
        return of_some(info, text, lambda written: written, takes or detector_of(info) is None)

    @field_validator("budget_per_week", mode="before")
    @classmethod
    def _budget(cls, text: object, info: ValidationInfo) -> float | None:
        described = detector_of(info)
        why = why_no_budget(info)
        if why and text is not None:
            raise ValueError(f"{why}, so it has no budget; leave it out")
        if described and not why and text is None:
            instead = ", or every: 24h" if described.takes_every else ""
            raise ValueError(f"is missing; write how many false pages the rule may cost: 1/week{instead}")
        return None if text is None else budget_per_week(text)

    @field_validator("effect", mode="before")
    @classmethod
    def _effect(cls, text: object, info: ValidationInfo) -> Effect | None:
        described = detector_of(info)
        if text is None:
            usual = described.effects if described else None
            return Effect(usual.ratio, usual.points) if usual else None
        return fitting(effect(text), info)

    @field_validator("signal", mode="before")
    @classmethod
    def _signal(cls, text: object, info: ValidationInfo) -> str | None:
        if is_of(info, "takes_signal") and text is None:
            raise ValueError("is missing; write error_ratio")
        signal = of_some(info, text, signal_word, may_be(info, "takes_signal"))
        names_metric = any(matcher.label == "metric" for matcher in info.data.get("select", ()))
        if signal is not None and SIGNALS[signal].of_metric and not names_metric:
            raise ValueError(f'"{signal}" is of a metric; name it: select: {{metric: queue.depth}}')
        if signal is not None and is_of(info, "takes_objective") and not is_share(signal):
            shares = ", ".join(name for name in SIGNALS if is_share(name))
            raise ValueError(f'"{signal}" is not a share of what is bad; write one of {shares}')
        return signal

    @field_validator("below", mode="before")
    @classmethod
    def _below(cls, text: object, info: ValidationInfo) -> float | None:
        described = detector_of(info)
        limit = described.limit if described else None
        takes = described is None or (limit is not None and limit.below)
        return of_some(info, text, lambda written: limit_of(written, info), takes)

    @field_validator("above", mode="before")
    @classmethod
    def _above(cls, text: object, info: ValidationInfo) -> float | None:
        described, below = detector_of(info), info.data.get("below")
        limit = described.limit if described else None
        is_known = "below" in info.data and (info.data.get("signal") or (limit and limit.unit))
        if limit and is_known and text is None and below is None:
            instead = f", or below: {limit.example}" if limit.below else ""
            raise ValueError(f"is missing; write {limit.example}{instead}")
        if text is not None and below is not None:
            raise ValueError("there is a below, too; a rule has one limit, so write two rules")
        return of_some(info, text, lambda written: limit_of(written, info), may_be(info, "limit"))

    @field_validator("window_ns", mode="after")
    @classmethod
    def _window(cls, window_ns: int, info: ValidationInfo) -> int:
        described, signal = detector_of(info), info.data.get("signal")
        if described and not described.takes_window:
            raise ValueError("it has no window: it finds the run of evidence itself; leave it out")
        if described is None:
            return window_ns
        is_quantile = signal is not None and isinstance(SIGNALS[signal].of, Quantile)
        most = min(60, described.window_ticks_max) if is_quantile else described.window_ticks_max
        if not TICK_NS <= window_ns <= most * _MINUTE_NS or window_ns % TICK_NS:
            longest = {60: "1h", 1440: "1d"}.get(most, f"{most // 1440}d")
            why = " for a percentile" if is_quantile and most < described.window_ticks_max else ""
            raise ValueError(f"a window is whole minutes, from 1m to {longest}{why}; write 5m")
        return window_ns

    @field_validator("repeats", mode="before")
    @classmethod
    def _repeats(cls, repeats: object, info: ValidationInfo) -> object:
        return of_some(info, repeats, lambda written: written, may_be(info, "of_running"))

    @field_validator("cost", mode="before")
    @classmethod
    def _cost(cls, text: object, info: ValidationInfo) -> object:
        dollars = of_some(info, text, lambda written: level(written, "usd"), may_be(info, "of_running"))
        if dollars is not None and dollars < 0.25:
            raise ValueError(f"{text!r:.80} is less than what is looked at; write $5, and $0.25 at least")
        return dollars

    @field_validator("annotations", mode="after")
    @classmethod
    def _annotations(cls, annotations: Annotations, info: ValidationInfo) -> Annotations:
        known = (*info.data.get("by", CELL_LABELS), *dict(info.data.get("labels", ())))
        for name in ("summary", "description"):
            try:
                template(getattr(annotations, name), known)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return annotations

    @field_validator("overrides", mode="after")
    @classmethod
    def _overrides(cls, overrides: tuple[Override, ...], info: ValidationInfo) -> tuple[Override, ...]:
        return tuple(_read(override, info) for override in overrides)

    @property
    def selection(self) -> Matchers:
        """The cells that it is about: calls and sessions, unless it says which metrics."""
        named = any(matcher.label == "metric" for matcher in self.select)
        return self.select if named else (*self.select, Matcher("metric", Operator.EQUAL, ""))

    @property
    def described(self) -> Descriptor:
        """What its detector is."""
        described = descriptor(self.detector)
        assert described is not None, "the rule was read while there was one"
        return described.scheduled() if self.every_ns else described

    @property
    def compared(self) -> str | None:
        """The label in which its series are held beside each other; None where its detector compares none."""
        return compared(self.by, self.described.compares)

    @property
    def counts_sessions(self) -> bool:
        """Whether its unit is a closed session rather than a call."""
        by_signal = self.signal is not None and SIGNALS[self.signal].of_sessions
        return self.described.of_sessions or by_signal or _SESSIONS in self.select

    @property
    def holds(self) -> Holds:
        return Holds(self.for_ns, self.keep_firing_for_ns)

    @property
    def budget_in_all(self) -> float | None:
        """False pages a week that it may cost with the budgets of its overrides; None where it has none."""
        if self.budget_per_week is None:
            return None
        return self.budget_per_week + sum(override.budget_per_week or 0.0 for override in self.overrides)

    def override_of(self, values: Sequence[str]) -> int | None:
        """The place of the override that counts for the series with these values of `by`; None where none does."""
        found = (number for number, one in enumerate(self.overrides) if matches(one.match, self.by, values))
        return next(found, None)

    def effect_for(self, values: Sequence[str]) -> Effect | None:
        """The effect asked of the series with these values of `by`; None for a rule that has none."""
        number = self.override_of(values)
        return (self.overrides[number].effect if number is not None else None) or self.effect

    @property
    def terms(self) -> Terms:
        """What its detector is to keep to."""
        budget = float("nan") if self.budget_per_week is None else self.budget_per_week
        ratio, points = (self.effect.ratio, self.effect.points) if self.effect else (None, None)
        every_ns = self.every_ns or 0
        grace_ns = max(5 * _MINUTE_NS, every_ns // 10) if self.grace_ns is None else self.grace_ns
        spans = tuple(SPANS[name] for name in self.spans or ("1h", "6h")) if self.objective else ()
        return Terms(
            budget, ratio, points, self.signal or "", above=_number(self.above), below=_number(self.below),
            window_ns=self.window_ns, at_least=self.at_least, of_sessions=_SESSIONS in self.select,
            objective=_number(self.objective), spans=spans, every_ns=every_ns, grace_ns=grace_ns,
            of_week=self.season == "week", repeats=_number(self.repeats), dollars=_number(self.cost),
        )  # fmt: skip


def _number(limit: float | str | None) -> float:
    """A limit that was read, NaN where there is none."""
    assert not isinstance(limit, str)
    return float("nan") if limit is None else float(limit)


def _read(override: Override, info: ValidationInfo) -> Override:
    """An override, its limits read; raises ValueError for one that fits neither its rule nor its detector."""
    by, word = info.data.get("by", CELL_LABELS), info.data.get("detector")
    for matcher in override.match:
        if matcher.label not in by:
            raise ValueError(f'match: "{matcher.label}" is not in by; the series have {", ".join(by)}')
    if override.effect is not None:
        fitting(override.effect, info)
    if override.budget_per_week is not None and (why := why_no_budget(info)):
        raise ValueError(f"budget: {why}, so it has no budget; leave it out")
    limits: dict[str, float | None] = {}
    for name in ("above", "below"):
        if (written := getattr(override, name)) is not None:
            if detector_of(info) and info.data.get(name) is None and name in info.data:
                raise ValueError(f"{name}: the rule has none; leave it out, or write one for the rule, too")
            limits[name] = limit_of(written, info)
    if override.effect is None and override.budget_per_week is None and not limits and word is not None:
        raise ValueError("says nothing else; write effect, budget, above or below")
    return override.model_copy(update=limits)
