"""Documents that must stay true: links, rule files, commands, and the dashboard's metrics."""

import json
import re
from pathlib import Path

import pytest

from alertrules.parse import combine, parse_rules
from service.notifiers.notifier import words
from service.own_metrics.catalog import DECLARED

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
    tours = [parse_rules(text, "tour.yaml", words()) for text in files if text.startswith("groups:")]
    assert [rule.name for tour in tours for rule in tour.rules] == ["SlowAgent", "SlowPayments", "SlowSearch"]
    assert combine(tours[1:]).route.receivers() == ("oncall", "boss", "payments", "search")


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


def test_the_ten_places() -> None:
    """Each place of docs/where.md is a file in which the name stands."""
    rows = [
        line for line in (ROOT / "docs" / "where.md").read_text().splitlines() if line.startswith("| ") and "`" in line
    ]
    places = [re.findall(r"`([\w/.]+\.\w+)` `(\w+)`", row) for row in rows]
    assert len(rows) == 10 and all(len(found) == 2 for found in places)
    for path, name in [place for found in places for place in found]:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), (path, name)


SOURCES = sorted(path for room in ("detectors", "alertrules", "service") for path in (ROOT / room).rglob("*.py"))
BANNED = ("is none of", "is no label", "is no receiver", "befalls", "no more than a wish")
"""Phrasings that readers whose second language is English stumbled over."""


def test_words_that_readers_stumbled_over() -> None:
    """They stand in no docstring, text for people, or document."""
    for path in (*SOURCES, *DOCUMENTS):
        found = [phrase for phrase in BANNED if phrase in path.read_text()]
        assert not found, (path, found)


def test_a_module_has_a_name_of_its_own() -> None:
    """Two modules of one name are two places to look in. A command's file has the command's name."""
    own = [path for path in SOURCES if path.parent.name != "commands"]
    names = [path.stem for path in own if path.stem not in ("__init__", "__main__")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_a_constant_has_one_value() -> None:
    """One name with two values in two modules misleads whoever knows one of them."""
    values: dict[str, set[str]] = {}
    for path in SOURCES:
        for name, value in re.findall(
            r"(?m)^([A-Z][A-Z0-9_]*)(?:: [^=]+)? = (-?[\d.e_-]+|\"[^\"]*\")$", path.read_text()
        ):
            values.setdefault(name, set()).add(value)
    assert {name: found for name, found in values.items() if len(found) > 1} == {}


def test_docstrings_name_files_that_are_there() -> None:
    """A file of ours that a docstring or comment names by its path is there, from the root or from beside it."""
    for path in SOURCES:
        for name in re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|pyx|pxd|yaml|md))`", path.read_text()):
            beside = [parent / name for parent in path.relative_to(ROOT).parents]
            assert any((ROOT / place).exists() for place in beside), (path, name)
