"""The rule file as types: what may be written, with what meaning and what default.

Validators raise ValueError with a whole sentence (what was read; what is expected): parse.py only adds where.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from alertrules.lifecycle import Holds, Labels
from alertrules.quantities import Effect, budget_per_week, duration_ns, effect, level
from alertrules.select import Matcher, Matchers, Operator, matches, parse_matchers
from alertrules.summary import template
from detectors.core.columns import CELL_LABELS, TICK_NS
from detectors.core.contract import Terms
from detectors.core.descriptor import Descriptor, descriptor, modules
from detectors.core.signals import SIGNALS

_MINUTE_NS = 60 * 1_000_000_000
_T = TypeVar("_T")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
GROUP_LABELS = ("alert", "severity", *CELL_LABELS)
"""What notices may be grouped by, with the rules' own `labels`."""


class Severity(StrEnum):
    """How much it matters, most first. `page` is another word for critical."""

    CRITICAL = "critical"
    PAGE = "page"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


def _severity(text: object) -> Severity:
    for word in Severity:
        if text == word.value:
            return word
    raise ValueError(f"{text!r:.80} is not one of {', '.join(Severity)}")


def _detector(text: object) -> str:
    """The word of a detector that there is."""
    if isinstance(text, str) and descriptor(text) is not None:
        return text
    described = modules()
    name = text.partition(".")[0] if isinstance(text, str) else ""
    if name in described and described[name].models:
        known = [f"{name}.{model}" for model in described[name].models]
    else:
        known = [f"{name}.NAME" if one.models else name for name, one in described.items()]
    raise ValueError(f"{text!r:.80} is not one of {', '.join(known)}")


def _signal_word(text: object) -> str:
    if isinstance(text, str) and text in SIGNALS:
        return text
    raise ValueError(f"{text!r:.80} is not one of {', '.join(SIGNALS)}")


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
            raise ValueError(f"{name!r:.80} is not a label; there are {', '.join(CELL_LABELS)}")
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
    detector: Annotated[str, BeforeValidator(_detector)]
    select: Selection = ()
    by: Annotated[Annotated[tuple[str, ...], Field(strict=False)], BeforeValidator(_by)] = ("tenant", "agent")
    series_max: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=10_000, validate_default=True)
    budget_per_week: float | None = Field(default=None, alias="budget", validate_default=True)
    effect: Effect | None = Field(default=None, validate_default=True)
    signal: str | None = Field(default=None, validate_default=True)
    above: float | None = Field(default=None, validate_default=True)
    window_ns: DurationNs = Field(default=5 * _MINUTE_NS, alias="window", validate_default=False)
    at_least: float = Field(default=1.0, gt=0, le=1e12, strict=False)
    for_ns: DurationNs = Field(default=0, alias="for")
    keep_firing_for_ns: DurationNs = Field(default=30 * _MINUTE_NS, alias="keep_firing_for")
    expire_after_ns: Annotated[DurationNs, AfterValidator(_expire_after)] = Field(
        default=360 * _MINUTE_NS, alias="expire_after"
    )
    severity: Annotated[Severity, BeforeValidator(_severity)] = Severity.PAGE
    labels: Annotated[Labels, BeforeValidator(_labels)] = ()
    annotations: Annotations = Annotations()
    overrides: Annotated[tuple[Override, ...], Field(strict=False)] = ()

    @field_validator("series_max", mode="after")
    @classmethod
    def _series_max(cls, written: int, info: ValidationInfo) -> int:
        described = _described(info)
        usual = described.series_usual if described else None
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
        described = _described(info)
        if described and described.limit and text is not None:
            word = info.data["detector"]
            raise ValueError(f"detector: {word} pages whenever its limit is passed, so it has no budget; leave it out")
        if described and not described.limit and text is None:
            raise ValueError("is missing; write how many false pages the rule may cost: 1/week")
        return None if text is None else budget_per_week(text)

    @field_validator("effect", mode="before")
    @classmethod
    def _effect(cls, text: object, info: ValidationInfo) -> Effect | None:
        described = _described(info)
        if text is None:
            usual = described.effects if described else None
            return Effect(usual.ratio, usual.points) if usual else None
        return _fitting(effect(text), info)

    @field_validator("overrides", mode="after")
    @classmethod
    def _overrides(cls, overrides: tuple[Override, ...], info: ValidationInfo) -> tuple[Override, ...]:
        by = info.data.get("by", CELL_LABELS)
        for override in overrides:
            _fitting(override.effect, info)
            for matcher in override.match:
                if matcher.label not in by:
                    raise ValueError(f'match: "{matcher.label}" is not in by; the series have {", ".join(by)}')
        return overrides

    @field_validator("signal", mode="before")
    @classmethod
    def _signal(cls, text: object, info: ValidationInfo) -> str | None:
        described = _described(info)
        signal = _of_some(info, text, _signal_word, described is None or described.takes_signal, "error_ratio")
        names_metric = any(matcher.label == "metric" for matcher in info.data.get("select", ()))
        if signal is not None and SIGNALS[signal].of_metric and not names_metric:
            raise ValueError(f'"{signal}" is of a metric; name it: select: {{metric: queue.depth}}')
        return signal

    @field_validator("above", mode="before")
    @classmethod
    def _above(cls, text: object, info: ValidationInfo) -> float | None:
        signal, described = info.data.get("signal"), _described(info)
        limit = described.limit if described else None
        if limit and limit.unit is None and signal is None:
            return None  # The signal's own problem is told already.
        unit = (limit.unit if limit else None) or SIGNALS[signal or "error_ratio"].unit
        has_limit = described is None or limit is not None
        return _of_some(info, text, lambda written: level(written, unit), has_limit, limit.example if limit else "5%")

    @field_validator("window_ns", mode="after")
    @classmethod
    def _window(cls, window_ns: int, info: ValidationInfo) -> int:
        described = _described(info)
        if described and not described.takes_window:
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
    def described(self) -> Descriptor:
        """What its detector is."""
        described = descriptor(self.detector)
        assert described is not None, "the rule was read while there was one"
        return described

    @property
    def counts_sessions(self) -> bool:
        """Whether its unit is a closed session rather than a call."""
        by_signal = self.signal is not None and SIGNALS[self.signal].of_sessions
        return self.described.of_sessions or by_signal or Matcher("operation", Operator.EQUAL, "session") in self.select

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
        signal = self.signal or ""
        above = float("nan") if self.above is None else self.above
        return Terms(budget, ratio, points, signal, "", above, self.window_ns, self.at_least)


def _described(info: ValidationInfo) -> Descriptor | None:
    """What the rule's detector is; None where what was written for it is none, which is told already."""
    word = info.data.get("detector")
    return descriptor(word) if word is not None else None


def _fitting(asked: Effect, info: ValidationInfo) -> Effect:
    """The effect, if the rule's detector can measure it."""
    word, described = info.data.get("detector"), _described(info)
    if described is None:
        return asked
    taken = described.effects
    if taken is None:
        raise ValueError(f"detector: {word} has no effect; leave it out")
    if (asked.ratio is not None and taken.ratio is None) or (asked.points is not None and taken.points is None):
        raise ValueError(f'"{asked}" is not an effect of {word}; write {taken.example}')
    return asked


def _of_some(info: ValidationInfo, text: object, read: Callable[[object], _T], has_it: bool, example: str) -> _T | None:
    """A field that the rules of some detectors must have and no others may. An unknown detector may."""
    word = info.data.get("detector")
    if has_it and word is not None and text is None:
        raise ValueError(f"is missing; write {example}")
    if not has_it and text is not None:
        raise ValueError(f"detector: {word} has none; leave it out")
    return None if text is None else read(text)
