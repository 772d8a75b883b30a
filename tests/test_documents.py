"""Documents that must stay true: links, rule files, commands, and the dashboard's metrics."""

import json
import re
from pathlib import Path

import pytest

from alertrules.parse import parse_rules
from service.declared import DECLARED

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(p for p in ROOT.rglob("*.md") if not {".venv", ".cache"} & set(p.relative_to(ROOT).parts))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names a file that is there."""
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if not re.match(r"https?://", link):
            assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(path: Path) -> None:
    """A path of this repository in back quotes is there."""
    for name in re.findall(r"`((?:detectors|alertrules|service|tests|deploy)/[\w./]+\.\w+)`", path.read_text()):
        assert (ROOT / name).exists(), name


def test_the_tour_s_rule_file_is_one() -> None:
    """The rule file in the README can be saved and used."""
    files = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    tours = [parse_rules(text, "tour.yaml") for text in files if text.startswith("groups:")]
    assert [rule.name for tour in tours for rule in tour.rules] == ["SlowAgent"]


def test_make_targets_exist() -> None:
    """Every `make …` in a document is a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        assert set(re.findall(r"`make ([a-z]+)", path.read_text())) <= targets, path


def test_the_dashboard_shows_what_is_exported() -> None:
    """Every metric that a panel asks for is one that Tocsin exports."""
    known = {f"{name}_bucket" if metric.type == "histogram" else name for name, metric in DECLARED.items()}
    dashboard = json.loads((ROOT / "deploy/grafana/tocsin.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"tocsin_\w+", target["expr"])
    }
    assert len(asked) > 20
    assert asked <= known
