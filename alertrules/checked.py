"""Everything that can be said of rule files without telemetry: what is wrong, and what is odd.

A problem keeps the files from being used, or a rule from ever paging. A warning is of a rule that works, maybe not as
was meant.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alertrules.parse import NO_WORDS, Problem, RuleErrors, RuleSet, Words, load, parse_rules, rule_files
from alertrules.possible import alike, doubts
from alertrules.yaml_file import text_of


@dataclass(frozen=True)
class Checked:
    """What was found. `rules` is None where the files cannot be used."""

    rules: RuleSet | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def checked(paths: Iterable[Path], words: Words = NO_WORDS) -> Checked:
    """Check the rules of files and directories."""
    paths = list(paths)
    problems = [_problem(path, "has no rule files; name them *.yaml") for path in paths if _is_bare(path)]
    try:
        rules = load(paths, words)
    except RuleErrors as error:
        return Checked(None, (*problems, *error.problems), ())
    if not rules.rules:
        problems.append(_problem(paths[0], "there is no rule, so nothing would ever page; write one"))
    told = list(odd(rules))
    problems += [one for one, never in told if never]
    warnings = [_problem(path, "says nothing; write groups:, or delete it") for path in _empty(paths, words)]
    return Checked(rules, tuple(problems), (*warnings, *(one for one, never in told if not never)))


def odd(rules: RuleSet) -> Iterator[tuple[Problem, bool]]:
    """What is odd about rules that can be used, each where it stands, and whether it can never page or be told."""
    yield from ((problem, True) for problem in rules.dead)
    for rule in rules.rules:
        for doubt in doubts(rule):
            yield Problem(*rules.places[rule.name], rule.name, doubt.field, doubt.message), doubt.never
    for first, second in alike(rules.rules):
        file, line = rules.places[first.name]
        said = f"asks the same as {first.name} at {file}:{line}: both page for each incident; keep one"
        yield Problem(*rules.places[second.name], second.name, "", said), False


def _is_bare(path: Path) -> bool:
    return path.is_dir() and not list(rule_files([path]))


def _empty(paths: Iterable[Path], words: Words) -> Iterator[Path]:
    return (path for path in rule_files(paths) if parse_rules(text_of(path), str(path), words).is_empty)


def _problem(path: Path, said: str) -> Problem:
    return Problem(str(path), 1, "", "", said)
