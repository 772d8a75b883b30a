"""`tocsin silence`: for a while nobody is told of alerts with these labels; `list` lists silences, `end` ends one."""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from alertrules.wording import utc
from detectors.core.columns import SECOND_NS
from service.commands import WRONG_USE, Commands, asking, shown, told


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
    if words == ["list"]:
        return shown(given, lambda at: {"silences": ask.silences(at)}, _listed)
    if words[0] == "end" and len(words) == 2:
        return told(given, lambda at, token: ask.end_silence(at, words[1], token))
    if not given.length:
        print("how long? write --for 2h; or tocsin silence list, tocsin silence end ID", file=sys.stderr)
        return WRONG_USE
    said = {"matchers": words, "for": given.length, "from": given.begins, "by": given.by, "why": given.why}
    asked = {name: value for name, value in said.items() if value}
    return told(given, lambda at, token: ask.silence(at, asked, token))


def _listed(found: dict[str, Any]) -> Iterator[str]:
    for one in found["silences"]:
        until = utc(int(one["until_s"]) * SECOND_NS)
        said_by, why = (f", {one['by']}" if one["by"] else ""), (f": {one['why']}" if one["why"] else "")
        yield f"{one['id']} {one['state']} {', '.join(one['matchers'])} until {until}{said_by}{why}"
    if not found["silences"]:
        yield "there are no silences"
