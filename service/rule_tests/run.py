"""All tests of some files."""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from alertrules.marks import Mark
from alertrules.parse import RuleSet, load
from alertrules.yaml_file import TESTS, Problem, RuleErrors
from service.notifiers.notifier import words
from service.rule_tests.compare import problems
from service.rule_tests.play import Played, chosen, marks, play
from service.rule_tests.written import RuleTest, read


@dataclass(frozen=True)
class Result:
    """What came of one test; `problems` is empty where it holds."""

    file: str
    line: int
    name: str
    problems: tuple[str, ...]
    played: Played
    seconds: float

    @property
    def ok(self) -> bool:
        return not self.problems

    def shown(self) -> dict[str, Any]:
        """The same for JSON; times are seconds of the test."""
        return {
            "file": self.file, "line": self.line, "name": self.name, "ok": self.ok, "problems": list(self.problems),
            "pages": [page.shown() for page in self.played.pages],
            "tickets": [{"alert": one.rule, "text": one.text, "at_s": one.at_ns / 1e9} for one in self.played.tickets],
            "spans": self.played.spans, "seconds": round(self.seconds, 3),
        }  # fmt: skip


def run(paths: Iterable[Path], name: str = "", jobs: int = 1) -> Iterator[Result]:
    """Run the tests whose name has this text, so many at a time, and give their results in the order of the files.

    Raises RuleErrors where a file of tests or rules is wrong, before any runs.
    """
    cases = {path: _cases(path) for path in _files(paths)}
    asked = [(path, n) for path, mine in cases.items() for n, case in enumerate(mine) if name in case.test.name]
    if jobs == 1 or len(asked) < 2:
        yield from map(_run, asked)
        return
    with ProcessPoolExecutor(min(jobs, len(asked)), get_context("spawn")) as pool:
        yield from pool.map(_run, asked)


@dataclass(frozen=True)
class _Case:
    """A test with all that it needs."""

    file: str
    line: int
    test: RuleTest
    rules: RuleSet
    said: Sequence[Mark]


def _cases(path: Path) -> list[_Case]:
    """The tests of a file. Raises RuleErrors."""
    tests = read(path)
    rules = load(tests.rule_files, words())
    if not rules.rules:
        places = ", ".join(map(str, tests.rule_files))
        raise RuleErrors([Problem(tests.file, 1, "", "rule_files", f"there is no rule in {places}")])
    cases, wrong = [], []
    for test, line in zip(tests.tests, tests.lines, strict=True):
        try:
            mine = chosen(rules, test.rules)
            cases.append(_Case(tests.file, line, test, mine, marks(test, mine)))
        except ValueError as error:
            wrong.append(Problem(tests.file, line, test.name, "", str(error), "test"))
    if wrong:
        raise RuleErrors(wrong)
    return cases


def _run(asked: tuple[Path, int]) -> Result:
    """Run a test of a file. It is read again, as it may be another process that runs it."""
    begun = time.perf_counter()
    path, number = asked
    case = _cases(path)[number]
    played = play(case.test, case.rules, case.said)
    found = tuple(problems(case.test, played))
    return Result(case.file, case.line, case.test.name, found, played, time.perf_counter() - begun)


def _files(paths: Iterable[Path]) -> list[Path]:
    """The files of tests that these paths mean. Raises RuleErrors where a path has none."""
    found: list[Path] = []
    example = f"agents{TESTS[0]}"
    for path in paths:
        below = sorted(one for one in path.iterdir() if one.name.endswith(TESTS)) if path.is_dir() else [path]
        if not below:
            raise RuleErrors([Problem(str(path), 1, "", "", f"has no tests; name files of them like {example}")])
        if path.is_file() and not path.name.endswith(TESTS):
            raise RuleErrors([Problem(str(path), 1, "", "", f"is not a file of tests; name those like {example}")])
        found += below
    return found


def worded(result: Result) -> str:
    """A result for people."""
    head = f"{'ok  ' if result.ok else 'FAIL'}  {result.file}:{result.line}: {result.name}"
    pages = len(result.played.pages)
    told = f" ({pages} page{'' if pages == 1 else 's'}, {result.played.spans} spans, {result.seconds:.1f} s)"
    lines = [line for problem in result.problems for line in problem.splitlines()]
    return "\n".join([head + told, *(f"        {line}" for line in lines)])
