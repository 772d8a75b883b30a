"""The document of rules' tests says what can be written, and its example is one."""

import re
from pathlib import Path

import alertrules
from alertrules.yaml_file import plain, tree_of
from service.ingest.vocabulary import OPERATIONS
from service.rule_tests.written import (
    GRAMMAR,
    Agent,
    Calls,
    Evaluations,
    ExpectedPage,
    ExpectedTicket,
    FileOfTests,
    Metric,
    RuleTest,
    Said,
)

DOCUMENT = (Path(alertrules.__file__).parent / "testing.md").read_text()
TABLES = re.sub(r"```.*?```", "", DOCUMENT, flags=re.DOTALL)


def test_every_field_is_documented() -> None:
    """Each key that a file may have stands in the document, in code; so does every operation."""
    models = (FileOfTests, RuleTest, Agent, Calls, Metric, Evaluations, Said, ExpectedPage, ExpectedTicket)
    names = {field.alias or name for model in models for name, field in model.model_fields.items()}
    coded = " ".join(re.findall(r"`([^`]+)`", TABLES))
    assert [name for name in sorted(names | OPERATIONS) if not re.search(rf"\b{name}\b", coded)] == []


def test_the_example_is_read() -> None:
    """The file in the document is one."""
    (example,) = re.findall(r"```yml\n(.*?)```", DOCUMENT, re.DOTALL)
    found = FileOfTests.model_validate(plain(tree_of(example, "testing.md", GRAMMAR)))
    assert found.tests[0].pages[0].alert == "ToolErrorsUp"
