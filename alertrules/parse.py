"""Rule files: from YAML to rules, with every problem of every file at once, each where it stands."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, create_model
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

from alertrules.hearing import hearing
from alertrules.inhibition import InhibitRule
from alertrules.outcome_classes import CLASSES_MAX, SHIPPED, SHIPPED_CLASSES, OutcomeClass, Outcomes, plain
from alertrules.outcome_classes import table as outcome_table
from alertrules.receivers import Receiver, receiver_of
from alertrules.routes import Branch, Escalation, Route, places
from alertrules.rules import Annotations, Override, Rule, Written
from alertrules.times import Entry, TimeInterval, Times

PACKS = Path(__file__).parent / "packs"
"""The rules we ship: what runs when no others are given."""
FILE_BYTES_MAX = 1 << 20
_DEPTH_MAX = 20
_SECRETS = ("receivers", "route")
"""Where somebody might have written a key or URL: what was read there is never repeated."""


@dataclass(frozen=True)
class Problem:
    """One thing to mend: where it stands, what was read, what is expected."""

    file: str
    line: int
    rule: str
    field: str
    message: str

    def __str__(self) -> str:
        rule = f'rule "{self.rule}": ' if self.rule else ""
        field = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}: {rule}{field}{self.message}"


class RuleErrors(Exception):  # noqa: N818 - it holds many.
    """Every problem found; its text has one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


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
    lines: Mapping[str, int]
    outcomes: tuple[OutcomeClass, ...] = ()
    inhibit_rules: tuple[InhibitRule, ...] = ()
    time_intervals: tuple[TimeInterval, ...] = ()


@dataclass(frozen=True)
class RuleSet:
    """All rules of all files, checked against each other."""

    rules: tuple[Rule, ...]
    receivers: tuple[Receiver, ...]
    route: Branch
    outcomes: Outcomes = SHIPPED
    inhibit_rules: tuple[InhibitRule, ...] = ()
    time_intervals: tuple[TimeInterval, ...] = ()

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)

    def names_metric(self, metric: str) -> bool:
        """Whether any rule is about that metric."""
        matchers = [matcher for rule in self.rules for matcher in rule.select if matcher.label == "metric"]
        return any(matcher.accepts(metric) for matcher in matchers)

    def receiver(self, name: str | None = None) -> Receiver:
        """Who is told, or who has that name. Raises ValueError where nobody has."""
        named = {receiver.name: receiver for receiver in self.receivers}
        if (found := named.get(name or self.route.receiver)) is None:
            raise ValueError(f'"{name}" is not a receiver; there are {", ".join(named)}')
        return found


def parse_rules(text: str, file: str, words: Words = NO_WORDS) -> RuleFile:
    """The rules in one file's text. Raises RuleErrors with all its problems."""
    if len(text.encode("utf-8", "surrogatepass")) > FILE_BYTES_MAX:
        raise RuleErrors([Problem(file, 1, "", "", "is over 1 MiB; split it into several files")])
    tree = _tree(text, file)
    try:
        keys = _file_keys(words).model_validate(_plain(tree))
    except ValidationError as error:
        raise RuleErrors(sorted(_problems(error, tree, file, words), key=lambda problem: problem.line)) from None
    rules = tuple(rule for group in keys.groups for rule in group.rules)
    return RuleFile(
        file, rules, keys.receivers, keys.route, dict(_lines(tree, keys)), keys.outcomes, keys.inhibit_rules,
        keys.time_intervals,
    )  # fmt: skip


def load(paths: Iterable[Path], words: Words = NO_WORDS) -> RuleSet:
    """The rules of files, and of directories' `*.yaml` and `*.yml`. Raises RuleErrors with the problems of all."""
    files: list[RuleFile] = []
    problems: list[Problem] = []
    for path in rule_files(paths):
        try:
            files.append(parse_rules(_text(path), str(path), words))
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
    problems += [Problem(one.file, one.line, "", one.field, one.message) for one in wrong]
    problems += _outcome_problems(files)
    if problems:
        raise RuleErrors(problems)
    classes = tuple(one for file in files for one in file.outcomes)
    outcomes = outcome_table(classes, SHIPPED_CLASSES) if classes else SHIPPED
    return RuleSet(rules, heard.receivers, heard.route, outcomes, heard.inhibit_rules, heard.time_intervals)


def _outcome_problems(files: tuple[RuleFile, ...]) -> Iterator[Problem]:
    """Classes and words that stand twice: which one is meant nobody could tell."""
    names = {one.name for one in SHIPPED_CLASSES}
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for number, (file, one) in enumerate((each, one) for each in files for one in each.outcomes):
        line = file.lines[f"outcomes {one.name}"]
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


def _twice(files: tuple[RuleFile, ...], kind: str) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for file in files:
        for name in [rule.name for rule in file.rules] if kind == "rule" else [one.name for one in file.receivers]:
            line = file.lines[f"{kind} {name}"]
            if name in first:
                field, rule = ("alert", name) if kind == "rule" else ("receivers", "")
                message = f'"{name}" stands already at {first[name]}; every {kind} needs a name of its own'
                yield Problem(file.file, line, rule, field, message)
            first.setdefault(name, f"{file.file}:{line}")


def rule_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that these paths mean: themselves, and of directories all `*.yaml` and `*.yml`."""
    for path in paths:
        if path.is_dir():
            yield from sorted(one for one in path.iterdir() if one.suffix in (".yaml", ".yml") and one.is_file())
        else:
            yield path


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1).decode()
    except OSError as error:
        raise RuleErrors([Problem(str(path), 1, "", "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        if len(error.object) > FILE_BYTES_MAX:
            return " " * (FILE_BYTES_MAX + 1)
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RuleErrors([Problem(str(path), line, "", "", "is not UTF-8; save the file as UTF-8")]) from None


def _tree(text: str, file: str) -> CommentedMap:
    """The file's mapping with its line numbers; an empty file is an empty mapping."""
    try:
        problems = list(_refused(text, file))
        if problems:
            raise RuleErrors(problems)
        tree = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        said = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        raise RuleErrors([Problem(file, line, "", "", f"is not YAML: {said:.200}")]) from None
    except (YAMLError, RecursionError, ValueError) as error:
        said = " ".join(str(error).split())
        raise RuleErrors([Problem(file, 1, "", "", f"is not YAML: {said:.200}")]) from None
    if tree is None:
        return CommentedMap()
    if not isinstance(tree, CommentedMap):
        raise RuleErrors([Problem(file, 1, "", "", "is not a mapping; write groups:, receivers: or route:")])
    return tree


def _refused(text: str, file: str) -> Iterator[Problem]:
    """YAML that we do not take: anchors can blow up a small file, tags mean nothing here, depth kills the loader."""
    depth = 0
    for event in YAML(typ="rt", pure=True).parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, NodeEvent) and event.anchor:
            kind = "an alias" if isinstance(event, AliasEvent) else "an anchor"
            yield Problem(
                file, line, "", "", f'"{event.anchor:.40}" is {kind}; write the value out, aliases are not taken'
            )
        elif getattr(event, "ctag", None) and str(event.ctag or "") not in ("", "None", "!"):
            yield Problem(file, line, "", "", f'"{event.ctag!s:.40}" is a tag; leave it out')
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        if depth > _DEPTH_MAX:
            yield Problem(file, line, "", "", f"is nested more than {_DEPTH_MAX} deep")
            return


def _plain(node: Any) -> Any:
    """The loader's nodes as plain Python, so that pydantic's strict types know them."""
    if isinstance(node, CommentedMap):
        return {_plain(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)


_ALIASES: dict[int | str, str] = {name: field.alias for name, field in Rule.model_fields.items() if field.alias}
"""Pydantic names a default that does not fit by the attribute; people know the key."""


def _problems(error: ValidationError, tree: CommentedMap, file: str, words: Words) -> Iterator[Problem]:
    for found in error.errors(include_url=False, include_context=False):
        loc = tuple(part for part in found["loc"] if part != "[key]")
        rule = _at(tree, loc[:4]) if loc[:1] == ("groups",) and len(loc) > 3 else None
        name = str(rule.get("alert", ""))[:100] if isinstance(rule, CommentedMap) else ""
        field = ".".join(_ALIASES.get(part, str(part)) for part in (loc[4:] if rule is not None else loc))
        yield Problem(file, _line(tree, loc), name, field, _message(found["type"], found["msg"], loc, tree, words))


def _message(kind: str, message: str, loc: tuple[int | str, ...], tree: CommentedMap, words: Words) -> str:
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        model = _model_at(loc[:-1], words)
        names = ", ".join(field.alias or name for name, field in model.model_fields.items())
        secret = " (keys and URLs come from settings)" if loc[0] in _SECRETS else ""
        return f"no such field; there are {names}{secret}" if names else f"no such field; write {{}}{secret}"
    if kind == "missing":
        return "is missing"
    expected = message.removeprefix("Input should be ").removeprefix("a valid ").replace("tuple", "list")
    read = "" if loc[0] in _SECRETS else f"{_plain(_at(tree, loc))!r:.80} "
    return f"{read}is not taken; expected {expected}"


_MODELS: dict[str, type[BaseModel]] = {
    "groups": Group, "rules": Rule, "overrides": Override, "annotations": Annotations,
    "outcomes": OutcomeClass, "route": Route, "routes": Route, "escalate": Escalation, "inhibit_rules": InhibitRule,
    "times": Times,
}  # fmt: skip


def _model_at(loc: tuple[int | str, ...], words: Words) -> type[BaseModel]:
    """The model whose keys stand at a place, told by the nearest key above it."""
    entry = Entry if loc.count("time_intervals") > 1 else TimeInterval
    models = {**_MODELS, "time_intervals": entry, **words, "receivers": receiver_of(tuple(words.items()))}
    return next((models[str(part)] for part in reversed(loc) if part in models), FileKeys)


def _at(tree: Any, loc: tuple[int | str, ...]) -> Any:
    """The node at a place, None where there is none."""
    node = tree
    for part in loc:
        inside = isinstance(node, CommentedMap) and part in node
        inside = inside or (isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node))
        if not inside:
            return None
        node = node[part]
    return node


def _line(tree: CommentedMap, loc: tuple[int | str, ...]) -> int:
    """The line of the deepest part of a place that the file has."""
    node: Any = tree
    line = 0
    for part in loc:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0]
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0]
        else:
            break
        node = node[part]
    return line + 1


def _lines(tree: CommentedMap, keys: FileKeys) -> Iterator[tuple[str, int]]:
    """The line of each name. Of two equal names in one file the later wins: `_twice` reports the later one."""
    yield "route", _line(tree, ("route",))
    for place, _ in places(keys.route) if keys.route else ():
        yield ".".join(map(str, place)), _line(tree, place)
    for i in range(len(keys.inhibit_rules)):
        yield f"inhibit_rules {i}", _line(tree, ("inhibit_rules", i))
    for i, interval in enumerate(keys.time_intervals):
        yield f"time_intervals {interval.name}", _line(tree, ("time_intervals", i))
    for i, group in enumerate(keys.groups):
        for j, rule in enumerate(group.rules):
            yield f"rule {rule.name}", _line(tree, ("groups", i, "rules", j))
    for i, outcome in enumerate(keys.outcomes):
        yield f"outcomes {outcome.name}", _line(tree, ("outcomes", i))
    for i, receiver in enumerate(keys.receivers):
        yield f"receiver {receiver.name}", _line(tree, ("receivers", i))
