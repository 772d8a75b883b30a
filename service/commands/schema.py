"""`tocsin schema`: the JSON Schema of rule files."""

import argparse
import json

from service.commands import YES, Commands


def add(commands: Commands) -> None:
    """Add the command."""
    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of rule files, for editors",
        description="Prints the JSON Schema of rule files. An editor that knows it completes and checks what is "
        "written; `tocsin check` says more.",
    )
    schema.set_defaults(run=_schema)


def _schema(_: argparse.Namespace) -> int:
    from alertrules.json_schema import schema
    from service.notifiers.notifier import words

    print(json.dumps(schema(words()), indent=2))
    return YES
