"""What a daemon shows: metrics that Prometheus can read and documents describe, health, and an API of valid JSON."""

import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from detectors.core.columns import CELL_LABELS
from service.batch import Dropped
from service.own_metrics.catalog import DECLARED
from service.sources.otlp_http import JSON, Refused
from tests.service.ingest.wire import EPOCH_S, agent, chat, json_body
from tests.service.running import ROOT, running

RULES = """
groups:
  - name: web
    rules:
      - {alert: Fails, detector: static, by: [tenant, agent], signal: error_ratio, above: 20%, window: 1m}
      - {alert: Slow, detector: latency, by: [agent, operation], budget: 1/week}
      - {alert: Dear, detector: cost, select: {operation: session}, budget: 1/week}
      - {alert: Worse, detector: outcomes, select: {operation: session}, budget: 1/week, effect: 10pp}
      - {alert: Errors, detector: errors, budget: 1/week}
"""
ODD = ['say "hi"\n\\', "\ud800lone", "\u202eright to left", "x" * 5000, "{}=,", ""]
UNITS = ("seconds", "ratio", "share", "usd", "nats", "bytes", "records", "info", "total", "hour", "week")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, httpx.Response]]:
    """Every page of a daemon that has read a few minutes of odd tenants, one failing."""
    directory: Path = tmp_path_factory.mktemp("web")
    (directory / "rules.yaml").write_text(RULES)
    with running(directory, RULES=str(directory / "rules.yaml"), SAVE_EVERY="100ms") as daemon:
        door, web = daemon.addresses()
        number = 0
        for ago_s in range(400, -1, -20):
            for tenant in ODD:
                number += 1
                at_s = time.time() - EPOCH_S - ago_s
                root = agent(number, 1, at_s - 3, at_s, tenant or "helper", tenant__id=tenant)
                call = chat(number, 2, at_s - 2, at_s - 1, 1)
                spans = json_body(root, call).replace(b'"status": {}', b'"status": {"code": 2}')
                sent = httpx.post(door + "/v1/traces", content=spans, headers={"Content-Type": JSON}, trust_env=False)
                assert sent.status_code == 200, sent.content
        pages = {}
        for _ in range(40):
            time.sleep(0.1)
            pages = {path: httpx.get(web + path, trust_env=False) for path in PATHS}
            if pages["/api/v1/alerts"].json()["alerts"]:
                break
        assert daemon.stop() == 0, daemon.said
        yield pages


PATHS = ("/metrics", "/-/healthy", "/-/ready", "/api/v1/alerts", "/api/v1/rules", "/nowhere")


def families(shown: dict[str, httpx.Response]) -> list[Metric]:
    return list(text_string_to_metric_families(shown["/metrics"].text))


def exported(family: Metric) -> str:
    """The name as it is declared: a counter's ends in _total."""
    return family.name + "_total" if family.type == "counter" else family.name


def test_what_is_exported_is_what_is_declared(shown: dict[str, httpx.Response]) -> None:
    """Every family with its type, labels and help; none missing, none twice."""
    found = families(shown)
    names = [exported(family) for family in found]
    assert sorted(names) == sorted(DECLARED)
    for family in found:
        declared = DECLARED[exported(family)]
        assert (family.type, family.documentation) == (declared.type, declared.help)
        for sample in family.samples:
            left_out = set(declared.labels) - set(sample.labels)
            assert left_out <= (set(CELL_LABELS) if "rule" in declared.labels else set()), sample
            assert set(sample.labels) - {"le"} <= set(declared.labels), sample
            assert "rule" not in declared.labels or all(sample.labels.values()), sample
            assert not math.isnan(sample.value), sample


def test_odd_names_break_no_scrape(shown: dict[str, httpx.Response]) -> None:
    """Quotes, newlines, lone surrogates and bidi: each series once, cleaned and cut."""
    samples = [sample for family in families(shown) for sample in family.samples]
    keys = [(sample.name, *sorted(sample.labels.items())) for sample in samples]
    assert len(keys) == len(set(keys))
    tenants = {sample.labels["tenant"] for sample in samples if "tenant" in sample.labels}
    assert len(tenants) == len(ODD) and all(len(tenant) <= 200 for tenant in tenants)
    assert "\ufffdlone" in tenants


def test_closed_sets_are_exported_from_the_start(shown: dict[str, httpx.Response]) -> None:
    """A reason that has not come up yet is a zero, so that a rate can be taken of its first time."""
    found = {exported(family): family for family in families(shown)}
    for name, reasons in [("tocsin_dropped_total", Dropped), ("tocsin_otlp_refused_total", Refused)]:
        assert {sample.labels["reason"] for sample in found[name].samples} == {reason.value for reason in reasons}


def test_health_and_api(shown: dict[str, httpx.Response]) -> None:
    """Health in words and status, alerts and rules in valid JSON, and 404 for the rest."""
    assert [shown[path].status_code for path in PATHS] == [200, 200, 200, 200, 200, 404]
    firing = [alert for alert in shown["/api/v1/alerts"].json()["alerts"] if alert["state"] == "firing"]
    assert {alert["rule"] for alert in firing} == {"Fails"}
    rules = json.loads(shown["/api/v1/rules"].text, parse_constant=pytest.fail)["rules"]
    assert [rule["rule"] for rule in rules] == ["Fails", "Slow", "Dear", "Worse", "Errors"]


def test_names_follow_the_conventions() -> None:
    """Prefix, unit at the end, no type in the name, no label that Prometheus keeps for itself."""
    for name, declared in DECLARED.items():
        assert re.fullmatch(r"tocsin_[a-z_]+", name)
        assert name.endswith("_total") == (declared.type == "counter"), name
        assert not {"gauge", "counter", "histogram", "count", "sum", "bucket"} & set(name.split("_")), name
        # `quantile` says of these gauges what it says of a summary, and dashboards know it by that name.
        assert not {"le", "job", "instance", "__name__"} & set(declared.labels), name
        assert declared.help.endswith(".")
        if name.rpartition("_")[2] not in UNITS:
            assert not re.search("seconds|bytes|ratio|usd", name), name


def test_the_document_says_the_same() -> None:
    """deploy/metrics.md has every metric with its type, labels and meaning, in order."""
    rows = [f"| `{n}` | {d.type} | {', '.join(d.labels)} | {d.help} |" for n, d in DECLARED.items()]
    text = (ROOT / "deploy" / "metrics.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("| `tocsin_")] == rows
