"""`tocsin page`: a test page, and what each destination answers."""

import argparse
import json
import sys
from pathlib import Path

from alertrules.parse import PACKS, RuleErrors, load
from service.commands import NO, WRONG_USE, YES, Commands
from service.config import settings as settings_module
from service.config.settings import SettingsError
from service.notifiers.notifier import words


def add(commands: Commands) -> None:
    """Add the command."""
    page = commands.add_parser(
        "page",
        help="send a marked test page to every destination",
        description="Sends one test page to each destination that the settings and rule files name, and says what each "
        "answered. A destination that several receivers share gets one. Exit status 1 if one of them did not take it.",
    )
    page.add_argument("--test", action="store_true", required=True, help="the only kind of page that is made by hand")
    page.add_argument("--receiver", metavar="NAME", help="of the rule files; default: all of them")
    page.add_argument("--json", action="store_true", help="one JSON object on standard output")
    page.set_defaults(run=_page)


def _page(given: argparse.Namespace) -> int:
    from service.delivery import trial
    from service.notifiers.destination import destinations
    from service.notifiers.request import Delivered

    try:
        settings = settings_module.from_environment()
        rules = load(list(map(Path, settings.rules)) or [PACKS], words())
        receivers = [rules.receiver(given.receiver)] if given.receiver else rules.receivers
        answers = trial.send({one.name: destinations(one, settings.notifiers) for one in receivers})
    except (SettingsError, RuleErrors, ValueError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    taken = [isinstance(outcome, Delivered) for _, outcome in answers]
    told = [trial.worded(*answer) for answer in answers]
    print(json.dumps({"ok": all(taken), "destinations": told}) if given.json else "\n".join(told))
    return YES if all(taken) else NO
