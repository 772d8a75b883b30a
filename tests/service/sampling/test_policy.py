"""The sampling policy that an operator writes, and names that tell a weight."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.settings import SettingsError, load
from service.sampling.names import SHARE_MIN, name_of, weight_of
from service.sampling.policy import HOUR_NS, SHIPPED, Flag, Policy, policy_from

SHARE = st.floats(SHARE_MIN, 1)


def test_what_is_shipped() -> None:
    """All of what may matter, a tenth of the rest; and nothing written is as shipped."""
    assert policy_from({}) == SHIPPED
    kept = (SHIPPED.errors, SHIPPED.deploys, SHIPPED.fresh, SHIPPED.flagged, SHIPPED.alerts, SHIPPED.suspected)
    assert kept == (1.0,) * 6 and (SHIPPED.rest, SHIPPED.audit) == (0.1, 0.01)
    assert (SHIPPED.fresh_for_ns, SHIPPED.deploy_for_ns) == (24 * HOUR_NS, HOUR_NS)


def test_a_file_of_an_operator(tmp_path: Path) -> None:
    file = tmp_path / "keep.yaml"
    file.write_text(
        "errors: 50%\nrest: 0.02\naudit: 0%\nfresh_for: 12h\ndeploy_for: 30m\n"
        "flags: [{attribute: thumbs, values: [down]}, {attribute: hot}]\n"
    )
    flags = (Flag("thumbs", ("down",)), Flag("hot"))
    found = load({"TOCSIN_KEEP": str(file)}).keep
    assert found == Policy(
        errors=0.5, rest=0.02, audit=0.0, fresh_for_ns=12 * HOUR_NS, deploy_for_ns=HOUR_NS // 2, flags=flags
    )
    assert load({}).keep is None


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("errors", 'expected shares by name, but found "errors"; write rest: 10%'),
        ("{eros: 1}", '"eros" is not known; there are errors, deploys, fresh, flagged, alerts, suspected, rest, audit'),
        ("{rest: 10}", "rest: 10 is not 0%, nor from 0.0001% to 100%; write 10%"),
        ("{rest: 1e-9}", "rest: 1e-09 is not 0%, nor from 0.0001% to 100%; write 10%"),
        ("{rest: .nan}", "rest: nan is not 0%, nor from 0.0001% to 100%; write 10%"),
        ("{rest: true}", "rest: True is not a share; write 10%"),
        ('{rest: "all"}', 'rest: "all" is not a share; write 10%'),
        (
            "{rest: 0%, audit: 0%}",
            "rest and audit are both 0%: what nobody asks for would never be seen",
        ),
        ("{fresh_for: 1s}", 'fresh_for: "1s" is not from 1m to 30d; write 24h'),
        ("{deploy_for: 3d}", 'deploy_for: "3d" is not from 1m to 24h; write 24h'),
        ("{flags: flagged}", 'flags: expected a list of at most 20, but found "flagged"; write [{attribute'),
        ("{flags: [flagged]}", 'flags: entry 1: "flagged" is not a flag; write {attribute'),
        ("{flags: [{attribute: a, values: [1]}]}", "flags: entry 1: attribute and values are texts of 1 to 200 char"),
        ("{flags: [{attribute: a, values: []}]}", "flags: entry 1: values are 1 to 50 texts; leave them out for true"),
        ("{rest: x, audit: y}", 'audit: "y" is not a share; write 10%'),
        ("rest: [", "is not YAML"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, written: str, problem: str) -> None:
    """With the file, the place, what was read and what to write."""
    file = tmp_path / "keep.yaml"
    file.write_text(written)
    with pytest.raises(SettingsError) as raised:
        load({"TOCSIN_KEEP": str(file)})
    assert problem in str(raised.value) and str(file) in str(raised.value)


@given(SHARE)
def test_a_name_tells_its_share(share: float) -> None:
    assert weight_of(name_of("rest", share)) == pytest.approx(1 / share, rel=1e-9)


@given(st.text())
def test_other_names_tell_nothing(name: str) -> None:
    """Whatever stands there: a weight is at least one, or there is none."""
    assert weight_of(name) == 0.0 or weight_of(name) >= 1
    assert weight_of(f"{name}=0.5") == 0.0 or name.startswith("tocsin/")
