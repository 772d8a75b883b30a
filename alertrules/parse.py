"""Rule files: from YAML to rules, with every problem of every file at once, each where it stands."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, create_model
from ruamel.yaml.comments import CommentedMap

from alertrules.hearing import Wrong, hearing
from alertrules.inhibition import InhibitRule
from alertrules.outcome_classes import CLASSES_MAX, SHIPPED, SHIPPED_CLASSES, OutcomeClass, Outcomes, plain
from alertrules.outcome_classes import table as outcome_table
from alertrules.receivers import Receiver, receiver_of
from alertrules.routes import Branch, Escalation, Route, places
from alertrules.rules import Annotations, Override, Rule, Written
from alertrules.times import Entry, TimeInterval, Times
from alertrules.yaml_file import TESTS, Grammar, line_of, text_of, tree_of
from alertrules.yaml_file import Problem as Problem
from alertrules.yaml_file import RuleErrors as RuleErrors
from alertrules.yaml_file import plain as as_python
from alertrules.yaml_file import problems as found_in

PACKS = Path(__file__).parent / "packs"
"""The rules we ship: what runs when no others are given."""


class Group(Written):
    """Rules that stand together. The name is for people."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    rules: Annotated[tuple[Rule, ...], Field(strict=False)]


Words = Mapping[str, type[Written]]
"""What a receiver may say of each notifier; the service knows which there are."""
NO_WORDS: Words = {}


class FileKeys(Written):
    """The keys of a rule file."""

    groups: Annotated[tuple[Group, ...], Field(strict=False)] = ()
    receivers: Annotated[tuple[Receiver, ...], Field(strict=False)] = ()
    route: Route | None = None
    inhibit_rules: Annotated[tuple[InhibitRule, ...], Field(strict=False)] = ()
    time_intervals: Annotated[tuple[TimeInterval, ...], Field(strict=False)] = ()
    outcomes: Annotated[tuple[OutcomeClass, ...], Field(strict=False)] = ()


def _file_keys(words: Words) -> type[FileKeys]:
    """The keys of a file whose receivers may say these words."""
    receiver = receiver_of(tuple(words.items()))
    many: Any = (Annotated[GenericAlias(tuple, (receiver, ...)), Field(strict=False)], ())
    return create_model("FileKeys", __base__=FileKeys, receivers=many)


@dataclass(frozen=True)
class RuleFile:
    """What one file says, and on which line each of its names stands."""

    file: str
    rules: tuple[Rule, ...]
    receivers: tuple[Receiver, ...]
    route: Route | None
    places: tuple[tuple[str, int], ...]
    outcomes: tuple[OutcomeClass, ...] = ()
    inhibit_rules: tuple[InhibitRule, ...] = ()
    time_intervals: tuple[TimeInterval, ...] = ()

    @property
    def lines(self) -> Mapping[str, int]:
        """The first line of each name."""
        return dict(reversed(self.places))

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing at all."""
        who_hears = self.receivers or self.route or self.inhibit_rules or self.time_intervals
        return not (self.rules or who_hears or self.outcomes)

    def named(self, kind: str) -> Iterator[tuple[str, int]]:
        """The names of rules, receivers or outcomes, and the line of each, as often as each stands."""
        for name, line in self.places:
            found, _, own = name.partition(" ")
            if found == kind and own:
                yield own, line


@dataclass(frozen=True)
class RuleSet:
    """All rules of all files, checked against each other.

    places  where each rule stands, by its name
    dead    what is there and can never be told: receivers, routes and inhibition rules that nothing comes to
    """

    rules: tuple[Rule, ...]
    receivers: tuple[Receiver, ...]
    route: Branch
    outcomes: Outcomes = SHIPPED
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    inhibit_rules: tuple[InhibitRule, ...] = ()
    time_intervals: tuple[TimeInterval, ...] = ()
    dead: tuple[Problem, ...] = ()

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)

    def names_metric(self, metric: str) -> bool:
        """Whether any rule is about that metric."""
        matchers = [matcher for rule in self.rules for matcher in rule.select if matcher.label == "metric"]
        return any(matcher.accepts(metric) for matcher in matchers)

    def receiver(self, name: str) -> Receiver:
        """Who has that name. Raises ValueError where nobody has."""
        named = {receiver.name: receiver for receiver in self.receivers}
        if (found := named.get(name)) is None:
            raise ValueError(f'"{name}" is not a receiver; there are {", ".join(named)}')
        return found


def parse_rules(text: str, file: str, words: Words = NO_WORDS) -> RuleFile:
    """The rules in one file's text. Raises RuleErrors with all its problems."""
    grammar = grammar_of(words)
    tree = tree_of(text, file, grammar)
    try:
        keys = grammar.whole.model_validate(as_python(tree))
    except ValidationError as error:
        raise RuleErrors(found_in(error, tree, file, grammar)) from None
    assert isinstance(keys, FileKeys)
    rules = tuple(rule for group in keys.groups for rule in group.rules)
    return RuleFile(
        file, rules, keys.receivers, keys.route, tuple(_places(tree, keys)), keys.outcomes, keys.inhibit_rules,
        keys.time_intervals,
    )  # fmt: skip


def load(paths: Iterable[Path], words: Words = NO_WORDS) -> RuleSet:
    """The rules of files, and of directories' `*.yaml` and `*.yml`. Raises RuleErrors with the problems of all."""
    files: list[RuleFile] = []
    problems: list[Problem] = []
    for path in rule_files(paths):
        try:
            files.append(parse_rules(text_of(path), str(path), words))
        except RuleErrors as error:
            problems += error.problems
    try:
        together = combine(files)
    except RuleErrors as error:
        problems += error.problems
    if problems:
        raise RuleErrors(problems)
    return together


def combine(files: Iterable[RuleFile]) -> RuleSet:
    """One set of rules, with the defaults for who hears. Raises RuleErrors for names that clash or are missing."""
    files = tuple(files)
    problems = [*_twice(files, "rule"), *_twice(files, "receiver")]
    rules = tuple(rule for file in files for rule in file.rules)
    heard, wrong = hearing(files, rules)
    problems += [_of_hearing(one) for one in wrong]
    problems += [*_outcome_problems(files), *_heirs(files)]
    if problems:
        raise RuleErrors(problems)
    classes = tuple(one for file in files for one in file.outcomes)
    table = outcome_table(classes, SHIPPED_CLASSES) if classes else SHIPPED
    places = {name: (file.file, line) for file in files for name, line in file.named("rule")}
    dead = tuple(map(_of_hearing, heard.dead))
    return RuleSet(
        rules, heard.receivers, heard.route, table, places, heard.inhibit_rules, heard.time_intervals, dead
    )  # fmt: skip


def _of_hearing(one: Wrong) -> Problem:
    return Problem(one.file, one.line, "", one.field, one.message)


def _outcome_problems(files: tuple[RuleFile, ...]) -> Iterator[Problem]:
    """Classes and words that stand twice: which one is meant nobody could tell."""
    names = {one.name for one in SHIPPED_CLASSES}
    first: dict[tuple[str, str], tuple[int, str]] = {}
    standing = [(file, *one) for file in files for one in zip(file.outcomes, file.named("outcomes"), strict=True)]
    for number, (file, one, (_, line)) in enumerate(standing):
        here = number, f"{file.file}:{line}, {one.name}"
        for kind, text in [("class", one.name), *(("word", plain(word)) for word in one.words)]:
            at, place = first.setdefault((kind, text), here)
            if at != number:
                yield Problem(
                    file.file, line, "", "outcomes", f'the {kind} "{text}" stands already at {place}; keep one'
                )
        names.add(one.name)
        if len(names) > CLASSES_MAX:
            yield Problem(file.file, line, "", "outcomes", f"{len(names)} classes; write at most {CLASSES_MAX} in all")


def _heirs(files: tuple[RuleFile, ...]) -> Iterator[Problem]:
    """Rules that say they had a name which another rule has, or says that it had."""
    rules = [
        (file, rule, line) for file in files for rule, (_, line) in zip(file.rules, file.named("rule"), strict=True)
    ]
    names = {rule.name: f"{file.file}:{line}" for file, rule, line in rules}
    heirs: dict[str, str] = {}
    for file, rule, line in rules:
        if rule.was is None:
            continue
        if rule.was in names or rule.was in heirs:
            place = names.get(rule.was) or heirs[rule.was]
            said = f'"{rule.was}" is the rule at {place}' if rule.was in names else f"the rule at {place} was that, too"
            yield Problem(
                file.file, line, rule.name, "was", f"{said}; what it learnt goes to one rule, so leave it out"
            )
        heirs.setdefault(rule.was, f"{file.file}:{line}")


def _twice(files: tuple[RuleFile, ...], kind: str) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for file in files:
        for name, line in file.named(kind):
            if name in first:
                field, rule = ("alert", name) if kind == "rule" else ("receivers", "")
                message = f'"{name}" stands already at {first[name]}; every {kind} needs a name of its own'
                yield Problem(file.file, line, rule, field, message)
            first.setdefault(name, f"{file.file}:{line}")


def rule_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that these paths mean: themselves, and of directories all `*.yaml` and `*.yml` but files of tests."""
    seen: set[Path] = set()
    for path in paths:
        for one in _below(path) if path.is_dir() else [path]:
            if (known := one.resolve()) not in seen:  # A file that was named twice says everything once.
                seen.add(known)
                yield one


def _below(directory: Path) -> list[Path]:
    named = [one for one in directory.iterdir() if one.suffix in (".yaml", ".yml") and not one.name.endswith(TESTS)]
    return sorted(one for one in named if one.is_file())


def grammar_of(words: Words) -> Grammar:
    """What a rule file may say whose receivers may say these words."""
    models: dict[str, type[BaseModel]] = {
        "groups": Group, "rules": Rule, "overrides": Override, "annotations": Annotations,
        "outcomes": OutcomeClass, "route": Route, "routes": Route, "escalate": Escalation,
        "inhibit_rules": InhibitRule, "time_intervals": TimeInterval, "times": Times, **words,
        "receivers": receiver_of(tuple(words.items())),
    }  # fmt: skip
    named = ("groups", None, "rules", None)
    secrets = ("receivers", "route")
    inner = {"time_intervals": Entry}
    return Grammar(_file_keys(words), models, "groups:, receivers: or route:", named, "alert", "rule", secrets, inner)


def _places(tree: CommentedMap, keys: FileKeys) -> Iterator[tuple[str, int]]:
    """Each name with its kind before it, and its line, in the order of the file."""
    yield "route", line_of(tree, ("route",))
    for place, _ in places(keys.route) if keys.route else ():
        yield ".".join(map(str, place)), line_of(tree, place)
    for i in range(len(keys.inhibit_rules)):
        yield f"inhibit_rules {i}", line_of(tree, ("inhibit_rules", i))
    for i, interval in enumerate(keys.time_intervals):
        yield f"time_intervals {interval.name}", line_of(tree, ("time_intervals", i))
    for i, group in enumerate(keys.groups):
        for j, rule in enumerate(group.rules):
            yield f"rule {rule.name}", line_of(tree, ("groups", i, "rules", j))
    for i, outcome in enumerate(keys.outcomes):
        yield f"outcomes {outcome.name}", line_of(tree, ("outcomes", i))
    for i, receiver in enumerate(keys.receivers):
        yield f"receiver {receiver.name}", line_of(tree, ("receivers", i))
