"""A rule's state is its own as long as it asks the same, also where it was saved by the version before."""

import pytest

from alertrules.parse import parse_rules
from alertrules.rules import Rule
from service.pipeline.fingerprint import fingerprint, of_format_9


def rule(written: str) -> Rule:
    (one,) = parse_rules(f"groups: [{{name: g, rules: [{{alert: A, {written}}}]}}]", "test.yaml").rules
    return one


@pytest.mark.parametrize(
    ("written", "saved"),
    [
        (
            "detector: errors, select: {operation: tool}, budget: 1/week",
            "0438f0e3a85f9e11cbfb54bdf59c6462849d315674c003cefa70e9300e381afd",
        ),
        (
            "detector: static, signal: error_ratio, above: 20%, window: 1m, by: [tenant]",
            "c8a3dc54eeb672f68ede6772b2a08b2edcf22b4b99356261110fd534fb607484",
        ),
        (
            "detector: river.HDDMA, signal: latency_p95, budget: 1/week",
            "ff5664b265a2e2ac6ba78b0953c6c7a5d424e20df17a36e8a7bb0c27ed6c606c",
        ),
        (
            "detector: river.ADWIN, signal: latency_p95, budget: 1/week",
            "4a293e327807e8d7db13b8b49c8386adb020974eda075b3d17f6858113341e75",
        ),
    ],
)
def test_what_format_9_saved_is_known(written: str, saved: str) -> None:
    """The hashes are those that the version before this one computed."""
    assert of_format_9(rule(written)) == saved


def test_it_depends_on_what_is_asked_alone() -> None:
    """Budget and effect may change; selection, series, signal and window may not."""
    base = "detector: level, signal: latency_p95, window: 5m, budget: 1/week"
    assert fingerprint(rule(base)) == fingerprint(rule(base.replace("1/week", "3/week")))
    others = [
        base.replace("p95", "p50"),
        base.replace("5m", "6m"),
        base + ", by: [tenant]",
        base + ", select: {tool: x}",
    ]
    assert len({fingerprint(rule(one)) for one in [base, *others]}) == 5
