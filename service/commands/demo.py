"""`tocsin demo`: four incidents in a simulated fleet."""

import argparse

from service.commands import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    demo = commands.add_parser("demo", help="watch four incidents in a simulated fleet turn into four pages")
    demo.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    demo.set_defaults(run=_demo)


def _demo(given: argparse.Namespace) -> int:
    from service.demo.show import main as show

    return show(given.json)
