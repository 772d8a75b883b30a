"""State of format 9, in which metric streams had their resource for a key, is gone on from: nothing counts again."""

import json
from typing import Any

import numpy as np

from alertrules.parse import combine, parse_rules
from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Pipeline, State
from tests.service.ingest.wire import FIXTURES, at_ns


def test_metrics_go_on() -> None:
    """What is counted after the restart is what a pipeline that never stopped counts: sums, histograms and gauges."""
    with np.load(FIXTURES / "state-9" / "metrics.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    more = json.loads(arrays["text"].tobytes())
    state = {key.removeprefix("state/"): array for key, array in arrays.items() if key.startswith("state/")}
    raw, ends = arrays["body"].tobytes(), arrays["ends"].tolist()
    bodies = [raw[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    rules = combine([parse_rules(more["rules"], "test.yaml")])
    whole, restored = (Pipeline(IngestLimits(), rules, 0) for _ in range(2))
    told: list[list[Any]] = [[], []]
    for number, body in enumerate(bodies):
        if number == more["cut"]:
            restored.restore(State(state, more["alerts"]))
        for one, said in zip((whole, restored), told, strict=True):
            if one is whole or number >= more["cut"]:
                batch = Batch((Record(Signal.METRICS, body, "m/0"),), {})
                tally = one.step(batch, at_ns(60 * (number // 2) + 31)).tally
                said.append((number, tally.points, dict(tally.priced_tokens), dict(tally.dropped)))
    # The older version counted tokens as they were read, this one does as their slot closes.
    (first, points, priced, dropped), *rest = [each for each in told[0] if each[0] > more["cut"]]
    assert [(first, points, {}, dropped), *rest] == told[1][1:]
    assert sum(priced.values()) == 3000
    assert sum(sum(each.values()) for _, _, each, _ in told[1]) == 3000 * 4
    assert whole.spend().keys() == restored.spend().keys()
