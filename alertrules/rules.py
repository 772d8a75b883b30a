"""The rule file as types: what may be written, with what meaning and what default.

Validators raise ValueError with a whole sentence (what was read; what is expected): parse.py only adds where.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from alertrules.lifecycle import Holds, Labels
from alertrules.quantities import Effect, budget_per_week, duration_ns, effect, level
from alertrules.select import Matcher, Matchers, Operator, matches, parse_matchers
from alertrules.summary import template
from detectors.core.columns import CELL_LABELS, TICK_NS
from detectors.core.contract import Terms

_MINUTE_NS = 60 * 1_000_000_000
_T = TypeVar("_T")
_Word = TypeVar("_Word", bound=StrEnum)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
_SESSIONS = Matcher("operation", Operator.EQUAL, "session")
GROUP_LABELS = ("alert", "severity", *CELL_LABELS)
"""What notices may be grouped by, with the rules' own `labels`."""


class Detector(StrEnum):
    """What a rule may ask; the value is a module of detectors/."""

    ERRORS = "errors"
    LATENCY = "latency"
    COST = "cost"
    OUTCOMES = "outcomes"
    STATIC = "static"
    LEVEL = "level"
    ABSENCE = "absence"
    BURN = "burn"
    RIVER_ADWIN = "river.ADWIN"
    RIVER_KSWIN = "river.KSWIN"
    RIVER_PAGE_HINKLEY = "river.PageHinkley"
    RIVER_DDM = "river.DDM"
    RIVER_EDDM = "river.EDDM"
    RIVER_FHDDM = "river.FHDDM"
    RIVER_HDDM_A = "river.HDDMA"
    RIVER_HDDM_W = "river.HDDMW"
    RIVER_GAUSSIAN = "river.GaussianScorer"
    RIVER_ABSOLUTE = "river.StandardAbsoluteDeviation"
    RIVER_TREES = "river.HalfSpaceTrees"
    RIVER_LOCAL = "river.LocalOutlierFactor"
    RIVER_LODA = "river.LODA"
    RIVER_SVM = "river.OneClassSVM"


RIVER = frozenset(detector for detector in Detector if detector.value.startswith("river."))
HAVE_A_LIMIT = frozenset((Detector.STATIC, Detector.BURN))
"""They compare with `above` and keep no budget."""
HAVE_A_SIGNAL = RIVER | {Detector.STATIC, Detector.LEVEL}
HAVE_A_WINDOW = HAVE_A_SIGNAL | {Detector.ABSENCE}
SERIES_MAX = {Detector.LEVEL: 200} | dict.fromkeys(RIVER, 50)
"""Defaults of those that keep four weeks of every series; `series_max` may be ten times as many."""


class Static(StrEnum):
    """The plain numbers that a rule can compare with a limit, or learn the usual level of."""

    ERROR_RATIO = "error_ratio"
    LATENCY_P95 = "latency_p95"
    LATENCY_P50 = "latency_p50"
    COST_PER_SESSION_P95 = "cost_per_session_p95"
    SPEND_PER_HOUR = "spend_per_hour"
    BAD_OUTCOME_SHARE = "bad_outcome_share"
    UNPRICED_SHARE = "unpriced_share"
    CALLS_PER_MINUTE = "calls_per_minute"
    VALUE = "value"
    PER_MINUTE = "per_minute"
    P50 = "p50"
    P95 = "p95"


STATIC_UNITS = {
    Static.ERROR_RATIO: "share",
    Static.LATENCY_P95: "s",
    Static.LATENCY_P50: "s",
    Static.COST_PER_SESSION_P95: "usd",
    Static.SPEND_PER_HOUR: "usd",
    Static.BAD_OUTCOME_SHARE: "share",
    Static.UNPRICED_SHARE: "share",
    Static.CALLS_PER_MINUTE: "per minute",
    Static.VALUE: "any",
    Static.PER_MINUTE: "per minute",
    Static.P50: "any",
    Static.P95: "any",
}
OF_METRICS = frozenset((Static.VALUE, Static.PER_MINUTE, Static.P50, Static.P95))
"""Signals of a metric that the rule selects."""
DEFAULT_EFFECTS = {
    Detector.ERRORS: Effect(1.5, 0.005),
    Detector.LATENCY: Effect(1.5, None),
    Detector.COST: Effect(1.5, None),
    Detector.OUTCOMES: Effect(None, 0.10),
}
EFFECTS_TAKEN = {
    Detector.ERRORS: "1.5x, +0.5pp or 1.5x and +0.5pp",
    Detector.LATENCY: "1.5x",
    Detector.COST: "1.5x",
    Detector.OUTCOMES: "10pp",
}


class Severity(StrEnum):
    """How much it matters, most first. `page` is another word for critical; a ticket is sent to nobody."""

    CRITICAL = "critical"
    PAGE = "page"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    TICKET = "ticket"


def _word(kind: type[_Word], text: object) -> _Word:
    for word in kind:
        if text == word.value:
            return word
    models = isinstance(text, str) and text.startswith("river")
    words = [word.value for word in kind if models or "." not in word.value]
    known = ", ".join([*words, "river.NAME"] if kind is Detector and not models else words)
    raise ValueError(f"{text!r:.80} is none of {known}")


def _name(text: object) -> str:
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise ValueError(f"{text!r:.80} is not a name; write letters, digits and _, like ToolErrorsUp")
    return text


def _expire_after(written_ns: int) -> int:
    if written_ns < 10 * _MINUTE_NS:
        raise ValueError("expire_after is at least 10m; write 6h, or 1d for an agent that is called once a day")
    return written_ns


def _labels(written: object) -> Labels:
    if not isinstance(written, Mapping):
        raise ValueError(f"{written!r:.80} is not a mapping; write {{team: agents}}")
    for name, value in written.items():
        _name(name)
        if not isinstance(value, str) or len(value) > 200:
            raise ValueError(f"{name}: {value!r:.80} is not text of at most 200 characters; put it in quotes")
        if name in GROUP_LABELS:
            raise ValueError(f'"{name}" is a label of the series; choose another name')
    return tuple(sorted(written.items()))


def _url(text: object) -> str:
    if not isinstance(text, str) or len(text) > 2000 or not re.fullmatch(r"https?://[^\s<>|\"{}\\^`]+", text):
        raise ValueError(f"{text!r:.80} is not a link; write https://runbooks.example.com/tool-errors")
    return text


def _by(names: object) -> object:
    for name in names if isinstance(names, list) else []:
        if name not in CELL_LABELS:
            raise ValueError(f"{name!r:.80} is no label; there are {', '.join(CELL_LABELS)}")
    if isinstance(names, list) and len(set(names)) < len(names):
        raise ValueError(f"{', '.join(names)} names a label twice")
    return names


Name = Annotated[str, BeforeValidator(_name)]
Text = Annotated[str, Field(max_length=1000)]
Selection = Annotated[Matchers, BeforeValidator(parse_matchers)]
EffectText = Annotated[Effect, BeforeValidator(lambda text: text if isinstance(text, Effect) else effect(text))]
DurationNs = Annotated[int, BeforeValidator(duration_ns)]


class Written(BaseModel):
    """What is common to all that stands in a file: unknown keys are errors, input is never echoed by pydantic."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)


def _template(text: str) -> str:
    template(text, None)
    return text


Template = Annotated[Text, AfterValidator(_template)]


class Annotations(Written):
    """Words for people. `summary` is the page's title and takes placeholders."""

    summary: Template = ""
    description: Template = ""
    runbook: Annotated[str, BeforeValidator(_url)] = ""


class Override(Written):
    """Another effect for some of the series; the first that matches counts."""

    match: Selection
    effect: EffectText


class Rule(Written):
    """One alerting rule: a detector over a view (`select`, `by`), what it may cost, and whom it concerns."""

    name: Name = Field(alias="alert")
    detector: Annotated[Detector, BeforeValidator(partial(_word, Detector))]
    select: Selection = ()
    by: Annotated[Annotated[tuple[str, ...], Field(strict=False)], BeforeValidator(_by)] = ("tenant", "agent")
    series_max: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=10_000, validate_default=True)
    budget_per_week: float | None = Field(default=None, alias="budget", validate_default=True)
    effect: Effect | None = Field(default=None, validate_default=True)
    signal: Static | None = Field(default=None, validate_default=True)
    above: float | None = Field(default=None, validate_default=True)
    window_ns: DurationNs = Field(default=5 * _MINUTE_NS, alias="window", validate_default=False)
    at_least: float = Field(default=1.0, gt=0, le=1e12, strict=False)
    for_ns: DurationNs = Field(default=0, alias="for")
    keep_firing_for_ns: DurationNs = Field(default=30 * _MINUTE_NS, alias="keep_firing_for")
    expire_after_ns: Annotated[DurationNs, AfterValidator(_expire_after)] = Field(
        default=360 * _MINUTE_NS, alias="expire_after"
    )
    severity: Annotated[Severity, BeforeValidator(partial(_word, Severity))] = Severity.PAGE
    labels: Annotated[Labels, BeforeValidator(_labels)] = ()
    annotations: Annotations = Annotations()
    overrides: Annotated[tuple[Override, ...], Field(strict=False)] = ()

    @field_validator("series_max", mode="after")
    @classmethod
    def _series_max(cls, written: int, info: ValidationInfo) -> int:
        usual = SERIES_MAX.get(info.data.get("detector", Detector.ERRORS))
        if usual is None:
            return written
        if written == cls.model_fields["series_max"].default:
            return usual
        if written > 10 * usual:
            raise ValueError(f"it keeps four weeks of every series; write at most {10 * usual}")
        return written

    @field_validator("budget_per_week", mode="before")
    @classmethod
    def _budget(cls, text: object, info: ValidationInfo) -> float | None:
        detector = info.data.get("detector")
        if detector in HAVE_A_LIMIT and text is not None:
            raise ValueError(
                f"detector: {detector.value} pages whenever its limit is passed, so it has no budget; leave it out"
            )
        if text is None and detector is not None and detector not in HAVE_A_LIMIT:
            raise ValueError("is missing; write how many false pages the rule may cost: 1/week")
        return None if text is None else budget_per_week(text)

    @field_validator("effect", mode="before")
    @classmethod
    def _effect(cls, text: object, info: ValidationInfo) -> Effect | None:
        detector = info.data.get("detector")
        if text is None:
            return DEFAULT_EFFECTS.get(detector) if detector else None
        return _fitting(effect(text), detector)

    @field_validator("overrides", mode="after")
    @classmethod
    def _overrides(cls, overrides: tuple[Override, ...], info: ValidationInfo) -> tuple[Override, ...]:
        by = info.data.get("by", CELL_LABELS)
        for override in overrides:
            _fitting(override.effect, info.data.get("detector"))
            for matcher in override.match:
                if matcher.label not in by:
                    raise ValueError(f'match: "{matcher.label}" is not in by; the series have {", ".join(by)}')
        return overrides

    @field_validator("signal", mode="before")
    @classmethod
    def _signal(cls, text: object, info: ValidationInfo) -> Static | None:
        signal = _of_some(info, text, partial(_word, Static), HAVE_A_SIGNAL, "error_ratio")
        names_metric = any(matcher.label == "metric" for matcher in info.data.get("select", ()))
        if signal in OF_METRICS and not names_metric:
            raise ValueError(f'"{signal}" is of a metric; name it: select: {{metric: queue.depth}}')
        return signal

    @field_validator("above", mode="before")
    @classmethod
    def _above(cls, text: object, info: ValidationInfo) -> float | None:
        signal, detector = info.data.get("signal"), info.data.get("detector")
        if signal is None and detector is Detector.STATIC:
            return None  # The signal's own problem is told already.
        unit = "usd" if detector is Detector.BURN else STATIC_UNITS[signal or Static.ERROR_RATIO]
        example = "$5000" if detector is Detector.BURN else "5%"
        return _of_some(info, text, lambda written: level(written, unit), HAVE_A_LIMIT, example)

    @field_validator("window_ns", mode="after")
    @classmethod
    def _window(cls, window_ns: int, info: ValidationInfo) -> int:
        if info.data.get("detector", Detector.STATIC) not in HAVE_A_WINDOW:
            raise ValueError("it has no window: it finds the run of evidence itself; leave it out")
        if not TICK_NS <= window_ns <= 60 * _MINUTE_NS or window_ns % TICK_NS:
            raise ValueError("a window is whole minutes, from 1m to 1h; write 5m")
        return window_ns

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

    @property
    def selection(self) -> Matchers:
        """The cells that it is about: calls and sessions, unless it says which metrics."""
        named = any(matcher.label == "metric" for matcher in self.select)
        return self.select if named else (*self.select, Matcher("metric", Operator.EQUAL, ""))

    @property
    def counts_sessions(self) -> bool:
        """Whether its unit is a closed session rather than a call."""
        by_detector = self.detector in (Detector.COST, Detector.OUTCOMES)
        by_signal = self.signal in (Static.COST_PER_SESSION_P95, Static.BAD_OUTCOME_SHARE)
        return by_detector or by_signal or _SESSIONS in self.select

    @property
    def judges_outcomes(self) -> bool:
        """Whether it depends on which class each outcome is of."""
        return self.detector is Detector.OUTCOMES or self.signal is Static.BAD_OUTCOME_SHARE

    @property
    def holds(self) -> Holds:
        return Holds(self.for_ns, self.keep_firing_for_ns)

    def effect_for(self, values: Sequence[str]) -> Effect | None:
        """The effect asked of the series with these values of `by`; None for a rule that has none."""
        for override in self.overrides:
            if matches(override.match, self.by, values):
                return override.effect
        return self.effect

    def terms(self, asked: Effect | None) -> Terms:
        """What its detector is to keep to, for the series of which `asked` is asked."""
        budget = float("nan") if self.budget_per_week is None else self.budget_per_week
        ratio, points = (asked.ratio, asked.points) if asked else (None, None)
        signal = self.signal.value if self.signal else ""
        above = float("nan") if self.above is None else self.above
        return Terms(
            budget,
            ratio,
            points,
            signal,
            "",
            above,
            self.window_ns,
            self.at_least,
            of_sessions=_SESSIONS in self.select,
        )


def _fitting(asked: Effect, detector: Detector | None) -> Effect:
    """The effect, if that detector can measure it."""
    if detector is not None and detector not in EFFECTS_TAKEN:
        raise ValueError(f"detector: {detector.value} has no effect; leave it out")
    ratio_only = detector in (Detector.LATENCY, Detector.COST) and asked.points is not None
    points_only = detector is Detector.OUTCOMES and asked.ratio is not None
    if detector and (ratio_only or points_only):
        raise ValueError(f'"{asked}" is not an effect of {detector.value}; write {EFFECTS_TAKEN[detector]}')
    return asked


def _of_some(
    info: ValidationInfo, text: object, read: Callable[[object], _T], some: frozenset[Detector], example: str
) -> _T | None:
    """A field that the rules of some detectors must have and no others may."""
    detector = info.data.get("detector")
    if detector in some and text is None:
        raise ValueError(f"is missing; write {example}")
    if detector is not None and detector not in some and text is not None:
        raise ValueError(f"detector: {detector.value} has none; leave it out")
    return None if text is None else read(text)
