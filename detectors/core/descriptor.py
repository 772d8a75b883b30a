"""What Tocsin knows of a detector, and how it finds one: a module of `detectors/` with a `DETECTOR`.

Rule language, pages, metrics and `explain` read this and name no detector. So a new one is one new file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pkgutil import iter_modules

import detectors
from detectors.core.columns import SECOND_NS
from detectors.core.contract import Detector, Terms

DAY_NS = 86_400 * SECOND_NS


@dataclass(frozen=True)
class Gauge:
    """A level of a series, for /metrics.

    metric  name, and `help` its text there
    label   a further label and this gauge's value of it, as ("percentile", "95")
    shows   unit of the level that `explain` shows of the series; None where this is not that level
    usual   name of the gauge with the level that it usually has, if `shows`
    """

    metric: str
    help: str
    label: tuple[str, str] | None = None
    shows: str | None = None
    usual: str = ""


LEARNING = {
    "learning_until": Gauge(
        "tocsin_learning_until_timestamp_seconds",
        "When the series is judged by what it learnt itself, at the earliest; absent once it is.",
    ),
    "learning_known": Gauge(
        "tocsin_learning_known", "Calls, sessions or values that are known, of those that judging takes; absent then."
    ),
}
"""Gauges of a series that is still being learnt, of every detector that learns first."""
JUDGED = Gauge("tocsin_series_judged", "1 once the series is judged, 0 while it is warming up.")
"""The gauge `warm`, of every detector that learns first."""


@dataclass(frozen=True)
class Effects:
    """Which effects a rule may ask for, and the one that it asks for if it says nothing.

    ratio    usual factor, None where this detector knows no factors
    points   usual difference of shares, None where it knows no points
    example  what to write
    """

    ratio: float | None
    points: float | None
    example: str


@dataclass(frozen=True)
class Limit:
    """A detector that compares with a limit, which it must be told, and keeps no budget.

    unit     of the limit; None: that of the rule's signal
    example  what to write
    below    whether the limit may be one that must not be fallen below
    """

    unit: str | None
    example: str
    below: bool = False


@dataclass(frozen=True)
class Learns:
    """What a series must have been for before it is judged.

    midnights  that must have passed (UTC), or `steps` of the rule's window
    units      calls, sessions or values that must be known by then
    """

    midnights: int
    steps: int
    units: float

    def until_ns(self, from_ns: int, step_ns: int) -> int:
        """When a series that begins then is judged at the earliest.

        >>> Learns(2, 0, 200).until_ns(DAY_NS // 2, 0) // DAY_NS
        2
        """
        if self.midnights:
            return (from_ns // DAY_NS + self.midnights) * DAY_NS
        return from_ns + self.steps * step_ns


@dataclass(frozen=True)
class Descriptor:
    """One detector.

    build           a new one for what a rule says
    gauges          its levels by the names that its `gauges()` answers
    subject         what its pages say has changed; empty: the subject of the rule's signal
    arrow           the word before the other level in a page: from 1% · expected 1% · limit 1%
    effects         None: it has no effect
    learns          what it must know before it judges; None: it judges at once
    limit           None: it keeps a budget
    takes_signal    whether a rule says `signal`, and must
    takes_window    whether a rule may say `window`
    takes_season    whether a rule may say `season`
    takes_every     whether a rule may say `every`, within which something must come, in place of a budget
    takes_objective whether a rule says `objective`, and must, in place of a limit or budget
    window_ticks_max longest window of a mean or a rate, minutes; of a quantile it is an hour
    every_words     `subject` and `arrow` of a rule that says `every`
    of_pipeline     whether it judges all telemetry together, by the wall clock: it selects nothing and has one series
    of_sessions     whether its units are closed sessions rather than calls
    of_running      whether it looks at open sessions: its series are of tenants and agents, and those of sessions that
                    page have the label `trace` besides; a rule may say `repeats` and `cost`
    operations      of the cells that it can look at; empty: of all calls and sessions
    of_points       whether the points of a metric tell it anything
    series_usual    series of a rule that says nothing, where each costs much; None: the rule language's
    compares        labels of which a rule's `by` must have one: series that differ in it alone are held together. With
                    the model that answered stands the one that was asked
    named           levels whose names the operator chooses, by how they begin; the label has what follows
    signal          the plain number that comes closest to what it judges, for a rule that says none: the causes of a
                    change are looked for in it; empty: they are not looked for
    models          names after a dot that choose one of many: river.ADWIN
    version         of the state that it saves; it grows when a program that knows the one before could not go on from
                    it, and states of all versions up to it are read
    """

    build: Callable[[Terms], Detector]
    gauges: Mapping[str, Gauge]
    subject: str = ""
    arrow: str = "from"
    effects: Effects | None = None
    learns: Learns | None = None
    limit: Limit | None = None
    takes_signal: bool = False
    takes_window: bool = False
    takes_season: bool = False
    takes_every: bool = False
    takes_objective: bool = False
    window_ticks_max: int = 60
    of_pipeline: bool = False
    every_words: tuple[str, str] = ("", "")
    of_sessions: bool = False
    of_running: bool = False
    operations: tuple[str, ...] = ()
    of_points: bool = True
    series_usual: int | None = None
    signal: str = ""
    models: tuple[str, ...] = ()
    compares: tuple[str, ...] = ()
    named: Mapping[str, Gauge] = field(default_factory=dict)
    version: int = 1

    def scheduled(self) -> "Descriptor":
        """The same for a rule that says `every`."""
        subject, arrow = self.every_words
        return replace(self, subject=subject, arrow=arrow, learns=None)

    def gauge(self, name: str) -> Gauge:
        """The gauge of a name. Raises KeyError for one that this detector does not tell."""
        if name in self.gauges:
            return self.gauges[name]
        for stem, one in self.named.items():
            if name.startswith(stem) and one.label:
                return replace(one, label=(one.label[0], name.removeprefix(stem)))
        raise KeyError(name)


def modules() -> dict[str, Descriptor]:
    """Every detector there is, by its module's name."""
    found = {one.name: _in(one.name) for one in iter_modules(detectors.__path__)}
    return {name: described for name, described in sorted(found.items()) if described}


def words() -> tuple[str, ...]:
    """What a rule may write after `detector:`, all models apart."""
    return tuple(
        word
        for name, described in modules().items()
        for word in ([f"{name}.{model}" for model in described.models] or [name])
    )


def descriptor(word: str) -> Descriptor | None:
    """The detector that a rule names; None where there is not one of that name."""
    name, dot, model = word.partition(".")
    described = _in(name) if name.isidentifier() else None
    if described is None:
        return None
    return described if (model in described.models if described.models else not dot) else None


def build(word: str, terms: Terms) -> Detector:
    """A new detector. Raises KeyError for a word that is not one of `words()`."""
    described = descriptor(word)
    if described is None:
        raise KeyError(word)
    return described.build(replace(terms, model=word.partition(".")[2]))


def _in(name: str) -> Descriptor | None:
    """The `DETECTOR` of a module; None where there is no such module, or it has none."""
    try:
        module = import_module(f"detectors.{name}")
    except ModuleNotFoundError as error:
        if error.name == f"detectors.{name}":
            return None
        raise  # The module is there and needs another that is not.
    described: Descriptor | None = getattr(module, "DETECTOR", None)
    return described
