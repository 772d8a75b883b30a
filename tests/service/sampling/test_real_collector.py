"""The rendered policy in a real Collector: it is valid, and what it keeps tells of the whole."""

from pathlib import Path

import pytest

from service.sampling.collector import rendered
from service.sampling.needs import Need, Needs, Reason
from service.sampling.policy import SHIPPED, Policy
from tests import otelcol
from tests.bench.loop._sampled_fleet import Law, fleet
from tests.bench.loop.sampling import Z_MAX, estimates, through
from tests.service.running import ROOT

pytestmark = pytest.mark.skipif(bool(otelcol.missing()), reason=otelcol.missing() or "there is one")
ODD = 'say "hi"\\ ${env:HOME} \n é😀'
LAWS = (Law("support", 60, 0.05, (0.8, 0.12, 0.08)), Law("coder", 30, 0.2, (0.6, 0.1, 0.3)))


def test_it_starts(tmp_path: Path) -> None:
    """With every kind of policy, shares below one, and names that are odd; beside the shipped configuration, too."""
    needs = tuple(Need(agent, reason, ODD) for reason in Reason for agent in (ODD, "support"))
    policies = rendered(Policy(errors=0.5, alerts=0.3), Needs((*needs, Need("", Reason.DEPLOY, "x"))))
    assert otelcol.kept(otelcol.BINARY, tmp_path, policies, ()) == []
    shipped = str(ROOT / "deploy/collector/collector.yaml")
    assert otelcol.validated(otelcol.BINARY, [shipped, str(tmp_path / "policies.yaml")]) == ""
    with pytest.raises(AssertionError, match="unknown sampling policy type"):
        otelcol.kept(otelcol.BINARY, tmp_path, policies.replace("string_attribute", "strange_attribute"), ())


def test_what_it_keeps_tells_of_the_whole() -> None:
    """Failed shares, costs and mixes of outcomes; without weights most would be far off."""
    sessions = fleet(LAWS, 3600, seed=3)
    found = estimates(sessions, SHIPPED, through(otelcol.BINARY, sessions, SHIPPED))
    assert all(abs(one.z) < Z_MAX for one in found)
    assert sum(abs(one.unweighted - one.whole) > 4 * one.error for one in found) > len(found) / 2
