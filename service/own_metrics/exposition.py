"""`/metrics` as text. Health by prometheus-client; levels by ourselves, as there is a line for each series and gauge.

A series' labels are written once for all gauges that have the same ones: they are most of the text, and were most of
the work. The tests hold it to what prometheus-client writes.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

import numpy as np
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.own_metrics.catalog import DECLARED, LEVELS
from service.own_metrics.tallied import valid
from service.pipeline.rule_runner import Level

STATE = "tocsin_alert_state"
Pair = tuple[str, str]
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Families(Collector):
    """Metrics that were made already, as prometheus-client takes them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterator[Metric]:
        yield from self.families


def page(health: Sequence[Metric], levels: Iterable[Level]) -> bytes:
    """The whole page: slow where series are many, and fit for a thread."""
    return generate_latest(Families(health)) + level_text(levels).encode()


def level_text(levels: Iterable[Level]) -> str:
    """The levels of every series of every rule, as they stood, in Prometheus' text format.

    Each metric is declared, though no series has it. Empty labels are left out, and gauges that are not finite.
    """
    lines: dict[str, list[str]] = {name: list(_declared(name)) for name in (*LEVELS, STATE)}
    written = Written()
    for level in levels:
        series: dict[Pair | None, list[str]] = {}
        for gauge, numbers in level.gauges.items():
            described = level.rule.described.gauge(gauge)
            name, more = described.metric, described.label
            if more not in series:
                series[more] = written.series(level, level.labels, more)
            are_shown = np.isfinite(numbers).tolist()
            lines[name] += [
                f"{name}{{{own}}} {number!r}\n"
                for own, number, is_shown in zip(series[more], numbers.tolist(), are_shown, strict=True)
                if is_shown
            ]
        for key, alert in level.alerts.items():
            (own,) = written.series(level, [key], ("state", alert.state.value))
            lines[STATE].append(f"{STATE}{{{own}}} 1.0\n")
    return "".join("".join(each) for each in lines.values())


class Written(dict[Pair, str]):
    """Pairs of a label and its value as they are written, each worked out once: many series share them.

    >>> Written()["agent", 'the "best"']
    'agent="the \\\\"best\\\\""'
    >>> Written()["agent", ""]
    ''
    """

    def __missing__(self, pair: Pair) -> str:
        name, value = pair
        self[pair] = f'{name}="{valid(value).translate(_ESCAPED)}"' if value else ""
        return self[pair]

    def series(self, level: Level, series: Sequence[tuple[str, ...]], more: Pair | None) -> list[str]:
        """The labels of each series, and one more, as they stand between braces: by name, without those that are empty.

        To Prometheus an empty label is a missing one, and eight of them are most bytes.
        """
        same = {"rule": level.rule.name} | dict([more] if more else [])
        columns: dict[str, Iterable[str]] = {
            name: repeat(self[name, value], len(series)) for name, value in same.items()
        }
        for name, values in zip(level.rule.by, zip(*series, strict=True), strict=bool(series)):
            columns.setdefault(name, [self[name, value] for value in values])
        rows = zip(*(columns[name] for name in sorted(columns)), strict=True)
        return [",".join(filter(None, row)) for row in rows]


def _declared(name: str) -> Iterator[str]:
    yield f"# HELP {name} {DECLARED[name].help}\n"
    yield f"# TYPE {name} {DECLARED[name].type}\n"
