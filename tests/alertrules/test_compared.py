"""What a rule holds beside each other."""

import pytest

from alertrules.parse import RuleErrors, parse_rules
from alertrules.rules import Rule

TEXT = "groups: [{name: g, rules: [{alert: A, detector: versions, by: [%s], budget: 1/week}]}]"


def rule(by: str) -> Rule:
    (found,) = parse_rules(TEXT % by, "test.yaml").rules
    return found


@pytest.mark.parametrize(
    ("by", "label"),
    [
        ("agent, agent_version", "agent_version"), ("agent, model", "model"), ("agent, prompt", "prompt"),
        ("agent, model, response_model", "response_model"), ("response_model, agent, model", "response_model"),
    ],
)  # fmt: skip
def test_the_label_in_which_series_differ(by: str, label: str) -> None:
    """One of four; what answers, of what was asked for."""
    assert rule(by).compared == label


@pytest.mark.parametrize("by", ["agent", "agent_version, prompt", "model, agent_version", "response_model, prompt"])
def test_none_or_several_are_refused(by: str) -> None:
    with pytest.raises(RuleErrors, match="differs in one of agent_version, model, prompt, response_model"):
        rule(by)


def test_what_answers_is_compared_by_what_was_asked() -> None:
    """Models that were asked by different names do not take each other's place."""
    with pytest.raises(RuleErrors, match=r"write \[tenant, agent, operation, model, response_model\], as what answers"):
        rule("agent, response_model")
