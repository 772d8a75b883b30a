"""A YAML file that people write: its tree with line numbers, and each of its problems where it stands.

Rule files and files of rules' tests are read alike: unknown keys, anchors, tags and depth are problems.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

FILE_BYTES_MAX = 1 << 20
TESTS = (".test.yaml", ".test.yml")
"""How the names of files of rules' tests end: they stand beside rule files, and are none."""
_DEPTH_MAX = 20


@dataclass(frozen=True)
class Problem:
    """One thing to mend: where it stands, what was read, what is expected."""

    file: str
    line: int
    rule: str
    field: str
    message: str
    kind: str = "rule"

    def __str__(self) -> str:
        rule = f'{self.kind} "{self.rule}": ' if self.rule else ""
        field = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}: {rule}{field}{self.message}"


class RuleErrors(Exception):  # noqa: N818 - it holds many.
    """Every problem found; its text has one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True)
class Grammar:
    """What a kind of file may say.

    whole    the model of the file, and `models` those of its parts by the key that they stand under
    empty    what to write where a file is not a mapping
    named    where a part begins that problems call by its name: the keys that lead to it, `None` for a place in a
             list; `name_key` is its key that has the name, and `kind` what such a part is called
    secrets  keys of the file below which what was read is never repeated, as somebody may have written a key or URL
    inner    the model of a part whose key stands in another part of that key
    """

    whole: type[BaseModel]
    models: Mapping[str, type[BaseModel]]
    empty: str
    named: tuple[str | None, ...]
    name_key: str
    kind: str
    secrets: tuple[str, ...] = ()
    inner: Mapping[str, type[BaseModel]] = field(default_factory=dict)

    def model_at(self, loc: tuple[int | str, ...]) -> type[BaseModel]:
        """The model whose keys stand at a place, told by the nearest key above it."""
        key = next((str(part) for part in reversed(loc) if part in self.models), None)
        if key is None:
            return self.whole
        return self.inner[key] if key in self.inner and loc.count(key) > 1 else self.models[key]


def text_of(path: Path) -> str:
    """A file's text, or more than is taken. Raises RuleErrors."""
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


def tree_of(text: str, file: str, grammar: Grammar) -> CommentedMap:
    """The file's mapping with its line numbers; an empty file is an empty mapping. Raises RuleErrors."""
    if len(text.encode("utf-8", "surrogatepass")) > FILE_BYTES_MAX:
        raise RuleErrors([Problem(file, 1, "", "", "is over 1 MiB; split it into several files")])
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
        raise RuleErrors([Problem(file, 1, "", "", f"is not a mapping; write {grammar.empty}")])
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


def plain(node: Any) -> Any:
    """The loader's nodes as plain Python, so that pydantic's strict types know them."""
    if isinstance(node, CommentedMap):
        return {plain(key): plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)


def problems(error: ValidationError, tree: CommentedMap, file: str, grammar: Grammar) -> list[Problem]:
    """What pydantic found, each where it stands, in the order of lines."""
    return sorted(_problems(error, tree, file, grammar), key=lambda problem: problem.line)


def _problems(error: ValidationError, tree: CommentedMap, file: str, grammar: Grammar) -> Iterator[Problem]:
    way = grammar.named
    for found in error.errors(include_url=False, include_context=False):
        loc = tuple(part for part in found["loc"] if part != "[key]")
        within = len(loc) >= len(way) and all(a in (None, b) for a, b in zip(way, loc, strict=False))
        part = at(tree, loc[: len(way)]) if within else None
        name = str(part.get(grammar.name_key, ""))[:100] if isinstance(part, CommentedMap) else ""
        field = ".".join(_written(loc, grammar)[len(way) if part is not None else 0 :])
        said = _message(found["type"], found["msg"], loc, tree, grammar)
        yield Problem(file, line_of(tree, loc), name, field, said, grammar.kind)


def _written(loc: tuple[int | str, ...], grammar: Grammar) -> list[str]:
    """A place by the keys that people write: pydantic names a default that does not fit by its attribute."""
    names = []
    for end, part in enumerate(loc):
        field = grammar.model_at(loc[:end]).model_fields.get(str(part))
        names.append(str((field and field.alias) or part))
    return names


def _message(kind: str, message: str, loc: tuple[int | str, ...], tree: CommentedMap, grammar: Grammar) -> str:
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        model = grammar.model_at(loc[:-1])
        names = ", ".join(field.alias or name for name, field in model.model_fields.items())
        secret = " (keys and URLs come from settings)" if loc[0] in grammar.secrets else ""
        return f"no such field; there are {names}{secret}" if names else f"no such field; write {{}}{secret}"
    if kind == "missing":
        return "is missing"
    expected = message.removeprefix("Input should be ").removeprefix("a valid ").replace("tuple", "list")
    read = "" if loc[0] in grammar.secrets else f"{plain(at(tree, loc))!r:.80} "
    return f"{read}is not taken; expected {expected}"


def at(tree: Any, loc: tuple[int | str, ...]) -> Any:
    """The node at a place, None where there is none."""
    node = tree
    for part in loc:
        inside = isinstance(node, CommentedMap) and part in node
        inside = inside or (isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node))
        if not inside:
            return None
        node = node[part]
    return node


def line_of(tree: CommentedMap, loc: tuple[int | str, ...]) -> int:
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
