"""`/metrics` as text. Health by prometheus-client; levels by ourselves, as there is a line for each series and gauge.

A series' labels are written once for all gauges that have the same ones: they are most of the text, and were most of
the work. The tests hold it to what prometheus-client writes.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

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
    for level in levels:
        series: dict[Pair | None, list[str]] = {}
        for gauge, numbers in level.gauges.items():
            described = level.rule.described.gauge(gauge)
            name, more = described.metric, described.label
            if more not in series:
                series[more] = [labels(level, values, more) for values in level.labels]
            lines[name] += [
                f"{name}{{{own}}} {number!r}\n"
                for own, number in zip(series[more], numbers.tolist(), strict=True)
                if math.isfinite(number)
            ]
        for key, alert in level.alerts.items():
            lines[STATE].append(f"{STATE}{{{labels(level, key, ('state', alert.state.value))}}} 1.0\n")
    return "".join("".join(each) for each in lines.values())


def labels(level: Level, values: tuple[str, ...], more: Pair | None) -> str:
    """The labels of a series, and one more, as they stand between braces: by name, those without a value left out.

    To Prometheus an empty label is a missing one, and eight of them are most bytes.
    """
    told = dict(zip(level.rule.by, values, strict=True)) | {"rule": level.rule.name} | dict([more] if more else [])
    return ",".join(f'{name}="{valid(value).translate(_ESCAPED)}"' for name, value in sorted(told.items()) if value)


def _declared(name: str) -> Iterator[str]:
    yield f"# HELP {name} {DECLARED[name].help}\n"
    yield f"# TYPE {name} {DECLARED[name].type}\n"
