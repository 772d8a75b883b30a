"""Any River detector on any plain number, held to a budget: `detector: river.ADWIN`, and the others in MODELS.

River's detectors have parameters, not budgets. So each is taken as it is, and the bar is set on what it says itself:
for a drift detector the detections of about the last hour, for an anomaly detector its score; from the peaks of the
last 28 days (`core/extremes.py`), as `level` does. There is no theorem here either. Values are put in units of the
last week's spread first. Every night, and six times a day at first, the model is made anew and fed the last week: its
memory stays bounded, and a restart can feed it again instead of trusting a file of live objects.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from detectors.core import extremes
from detectors.core.columns import Floats
from detectors.core.descriptor import Descriptor
from detectors.core.scored import CALM_S, GAUGES, JUDGED_MIN, LEARNS, Score, Scored, calm_steps

DAY_S, WEEK_S = 86_400.0, 604_800.0
FED_DAYS, SCORED_DAYS = 7, 28
YOUNG_DAYS, YOUNG_REFITS = 3, 6
"""Scores that must be known before any is judged."""
LEAK_S = 3600.0
"""Detections of a drift detector are forgotten at this pace."""
ONE_LEFT = math.exp(-CALM_S / LEAK_S)
"""What is left of a detection after half an hour. A drift detector's bar is no lower: so each episode has an end."""
TO_SD = 1.4826

Model = Callable[[float], float]
"""Takes a value in units of its spread, says its score, and learns it."""


def _drift(model: Any) -> Model:
    def score(value: float) -> float:
        model.update(value)
        return float(model.drift_detected)

    return score


def _binary(model: Any) -> Model:
    """Whether a value strays further than usual is what these are fed."""

    def score(value: float) -> float:
        model.update(abs(value) > 1.0)
        return float(model.drift_detected)

    return score


def _target(model: Any) -> Model:
    """Those that look at a target, not at features."""

    def score(value: float) -> float:
        found = float(model.score_one(None, value))
        model.learn_one(None, value)
        return found

    return score


def _surprise(model: Any) -> Model:
    """The same for a probability, told as its surprise in nats: near one it would say nothing any more."""
    score = _target(model)
    return lambda value: -math.log1p(-min(score(value), 1 - 1e-16))


def _features(model: Any) -> Model:
    """The value squashed into 0 to 1, where half-space trees want it."""

    def score(value: float) -> float:
        x = {"value": 1 / (1 + math.exp(-min(max(value, -50.0), 50.0)))}
        found = float(model.score_one(x))
        model.learn_one(x)
        return found

    return score


@dataclass(frozen=True)
class Kind:
    """One of River's: where it is, how it is fed, and whether it says only yes or no.

    River is imported when the first is made: that takes over a second, and only rules that name it should pay.
    """

    fed: Callable[[Any], Model]
    place: str
    settings: Mapping[str, int] = field(default_factory=dict)
    says_yes_or_no: bool = False

    def make(self) -> Model:
        module, _, name = self.place.rpartition(".")
        return self.fed(getattr(import_module(f"river.{module}"), name)(**self.settings))


MODELS: dict[str, Kind] = {
    "ADWIN": Kind(_drift, "drift.ADWIN", {"clock": 1}, True),  # Its default looks at every 32nd step.
    "KSWIN": Kind(_drift, "drift.KSWIN", {"seed": 1}, True),
    "PageHinkley": Kind(_drift, "drift.PageHinkley", {}, True),
    "DDM": Kind(_binary, "drift.binary.DDM", {}, True),
    "EDDM": Kind(_binary, "drift.binary.EDDM", {}, True),
    "FHDDM": Kind(_binary, "drift.binary.FHDDM", {}, True),
    "HDDMA": Kind(_binary, "drift.binary.HDDMA", {}, True),
    "HDDMW": Kind(_binary, "drift.binary.HDDMW", {}, True),
    "GaussianScorer": Kind(_surprise, "anomaly.GaussianScorer"),
    "StandardAbsoluteDeviation": Kind(_target, "anomaly.StandardAbsoluteDeviation"),
    "HalfSpaceTrees": Kind(_features, "anomaly.HalfSpaceTrees", {"seed": 1}),
    "LocalOutlierFactor": Kind(_features, "anomaly.LocalOutlierFactor"),
    "LODA": Kind(_features, "anomaly.LODA", {"seed": 1}),
    "OneClassSVM": Kind(_features, "anomaly.OneClassSVM"),
}
"""Every one there is a rule for. River's filters and its wrapper of a forecaster are not detectors of their own."""


@dataclass(frozen=True)
class Unit:
    """Where a series usually is, and its spread: last week's median and median distance from it."""

    middle: float = math.nan
    spread: float = math.nan

    @classmethod
    def of(cls, values: Floats) -> "Unit":
        middle = float(np.median(values))
        away = np.abs(values - middle)
        spread = TO_SD * float(np.median(away)) or float(away.mean()) or 1.0
        return cls(middle, spread)


class River:
    """One series under one of MODELS."""

    def __init__(self, model: str, step_s: float, budget_per_week: float) -> None:
        self.step_s, self.budget_per_week = step_s, budget_per_week
        self.name, self.kind = model, MODELS[model]
        self.day = max(1, round(DAY_S / step_s))
        self.quiet = calm_steps(step_s)
        self.fed: list[float] = []  # Values since a week before the last refit; `since` of them are newer than it.
        self.since = 0
        self.scores: list[float] = []
        self.unit = Unit()
        self.model: Model | None = None
        self.score = self.threshold = math.nan
        self.next_step = -1
        self.last_above = -1

    def observe(self, time_s: float, value: float) -> Score | None:
        """Judge a value by those before it, then learn it; None until the model was first made."""
        step = int(time_s / self.step_s)
        if step >= self.next_step:
            self._refit(step)
        self.fed.append(value)
        self.since += 1
        if self.model is None:
            return None
        self.score = self._said(value)
        self.scores.append(self.score)
        threshold = self.threshold if math.isfinite(self.threshold) else math.inf
        above = self.score > threshold
        page = above and not 0 <= step - self.last_above <= self.quiet
        self.last_above = step if above else self.last_above
        return Score(time_s, value, self.score, threshold, self.unit.middle, page)

    def _said(self, value: float) -> float:
        assert self.model is not None
        said = self.model((value - self.unit.middle) / self.unit.spread)
        if not self.kind.says_yes_or_no:
            return said if math.isfinite(said) else 0.0
        before = 0.0 if math.isnan(self.score) else self.score
        return before * math.exp(-self.step_s / LEAK_S) + said

    def _refit(self, step: int) -> None:
        """Make the model anew from the last week, and set the bar by its scores of four weeks."""
        young = len(self.scores) < YOUNG_DAYS * self.day
        self.next_step = (step // (period := max(1, self.day // YOUNG_REFITS) if young else self.day) + 1) * period
        self.fed, self.since = self.fed[-max(FED_DAYS * self.day, JUDGED_MIN) :], 0
        self.scores = self.scores[-max(SCORED_DAYS * self.day, JUDGED_MIN) :]
        if not self.fed:
            return
        self._feed(self.fed)
        if len(self.scores) >= JUDGED_MIN:
            scores = np.array(self.scores)
            least = ONE_LEFT if self.kind.says_yes_or_no else -math.inf
            level = max(extremes.calm(scores), least)
            found = extremes.peaks(scores, level, self.quiet)
            weeks = len(scores) * self.step_s / WEEK_S
            known = len(found) > 1
            bar = extremes.reached(found, level, weeks, self.budget_per_week) if known else float(scores.max())
            self.threshold = max(bar, least)

    def _feed(self, values: list[float]) -> None:
        self.unit, self.model = Unit.of(np.array(values)), self.kind.make()
        for value in values:
            self.model((value - self.unit.middle) / self.unit.spread)

    def said(self, score: float, bar: float) -> str:
        """A score above its bar in words, for a page."""
        told = "counts its detections of about the last hour as" if self.kind.says_yes_or_no else "gives it a score of"
        return f"{self.name} {told} {score:.1f}, where {bar:.1f} is the bar"

    def known(self) -> int:
        """How many values were scored."""
        return len(self.scores)

    def release(self) -> None:
        """Nothing: models learn whatever comes."""

    def state(self) -> Floats:
        """Everything but the model, which is fed again."""
        facts = [self.since, self.score, self.threshold, self.next_step, self.last_above, self.model is not None]
        return np.array([*facts, len(self.fed), *self.fed, *self.scores], np.float64)

    def resume(self, state: Floats) -> None:
        since, self.score, self.threshold, next_step, last_above, has_model, fed = state[:7].tolist()
        self.since, self.next_step, self.last_above = int(since), int(next_step), int(last_above)
        self.fed, self.scores = state[7 : 7 + int(fed)].tolist(), state[7 + int(fed) :].tolist()
        before = len(self.fed) - self.since
        if has_model:
            self._feed(self.fed[:before])
            assert self.model is not None
            for value in self.fed[before:]:
                self.model((value - self.unit.middle) / self.unit.spread)


DETECTOR = Descriptor(
    lambda terms: Scored(terms, partial(River, terms.model)),
    GAUGES,
    arrow="expected",
    learns=LEARNS,
    takes_signal=True,
    takes_window=True,
    series_usual=50,
    models=tuple(MODELS),
)
