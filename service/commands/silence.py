"""`tocsin silence`: for a while nobody is told of alerts with these labels; `list` lists silences, `end` ends one."""

import argparse
import json
import sys
from typing import Any

from alertrules.wording import utc
from detectors.core.columns import SECOND_NS
from service.commands import NO, WRONG_USE, YES, Commands, asking
from service.config.settings import SettingsError


def add(commands: Commands) -> None:
    """Add the command."""
    silence = commands.add_parser(
        "silence",
        help="tell nobody of alerts with these labels for a while; list silences; end one",
        usage="tocsin silence LABEL=VALUE … --for 2h --why TEXT | list | end ID",
        description="Asks the running daemon. A matcher is as Alertmanager's: agent=support, 'tool=~\"a|b\"', "
        "tenant!=acme; over the labels of series, the rules' own, alertname and severity. What fires as the silence "
        "ends is told then.",
    )
    silence.add_argument("words", nargs="+", metavar="LABEL=VALUE", help="matchers; or list; or end and an id")
    silence.add_argument("--for", metavar="DURATION", dest="length", help="how long, such as 2h; at most 30d")
    silence.add_argument("--from", metavar="TIME", dest="begins", help="when it begins, as 2026-01-31T18:00Z; else now")
    silence.add_argument("--by", default="", help="who says so")
    silence.add_argument("--why", default="", help="why, for those who wonder")
    asking(silence)
    silence.set_defaults(run=_silence)


def _silence(given: argparse.Namespace) -> int:
    from service import ask

    words: list[str] = given.words
    try:
        at = ask.address(given.at)
        if words == ["list"]:
            return _list(ask.silences(at), given.json)
        if words[0] == "end" and len(words) == 2:
            answer = ask.end_silence(at, words[1], ask.token())
        elif not given.length:
            print("how long? write --for 2h; or tocsin silence list, tocsin silence end ID", file=sys.stderr)
            return WRONG_USE
        else:
            said = {"matchers": words, "for": given.length, "from": given.begins, "by": given.by, "why": given.why}
            answer = ask.silence(at, {name: value for name, value in said.items() if value}, ask.token())
    except (ask.AskError, SettingsError) as error:
        print(error, file=sys.stderr)
        return NO
    print(json.dumps({"ok": True, "message": answer}) if given.json else answer)
    return YES


def _list(found: list[dict[str, Any]], is_json: bool) -> int:
    if is_json:
        print(json.dumps({"silences": found}))
        return YES
    for one in found:
        until = utc(int(one["until_s"]) * SECOND_NS)
        said_by, why = (f", {one['by']}" if one["by"] else ""), (f": {one['why']}" if one["why"] else "")
        print(f"{one['id']} {one['state']} {', '.join(one['matchers'])} until {until}{said_by}{why}")
    if not found:
        print("there are no silences")
    return YES
