"""The shipped rules, each under a test that stands beside it."""

import pytest

from alertrules.parse import PACKS, load
from service.rule_tests.run import run
from service.rule_tests.written import read

NAMES = [test.name for path in sorted(PACKS.glob("*.test.yaml")) for test in read(path).tests]


def test_every_shipped_rule_has_a_test() -> None:
    """Each rule pages, or writes its ticket, in a test of its own."""
    tests = [test for path in sorted(PACKS.glob("*.test.yaml")) for test in read(path).tests]
    tested = {page.alert for test in tests for page in test.pages}
    tested |= {ticket.alert for test in tests for ticket in test.tickets or ()}
    assert {rule.name for rule in load([PACKS]).rules} == tested


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_rules_do_what_they_should(name: str) -> None:
    """The tests of the packs hold."""
    (result,) = run([PACKS], name)
    assert result.ok, result.problems
