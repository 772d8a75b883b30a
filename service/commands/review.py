"""`tocsin review`: the week's sessions that are most worth a look; `tocsin review mark` says what one was."""

import argparse
import re
import sys
import time

from service.commands import WRONG_USE, Commands, asking, shown, told

USAGE = "tocsin review [--days N] [--markdown] | mark ID good|bad [--by NAME]"


def add(commands: Commands) -> None:
    """Add the command."""
    review = commands.add_parser(
        "review",
        help="list the week's sessions that are most worth a look, and as many at random; mark what one was",
        usage=USAGE,
        description="Asks the running daemon's record of sessions. The worst hundredth by their signs (failures, "
        "repeats, guardrails, cost, length), grouped by likely cause, with links; and a random hundredth, so that it "
        "can be seen what the review is worth. `mark` makes what somebody found an outcome of the session, `review`.",
    )
    review.add_argument(
        "words", nargs="*", metavar="mark ID good|bad", help="a session's id or a trace's, and what it was"
    )
    review.add_argument("--days", type=float, default=7.0, metavar="N", help="of the last N days; default: 7")
    review.add_argument("--markdown", action="store_true", help="as Markdown, for a page or a message")
    review.add_argument("--by", default="", help="of mark: who says so")
    asking(review)
    review.set_defaults(run=_review)


def _review(given: argparse.Namespace) -> int:
    from service import ask
    from service.ledger.review_words import review_lines, review_markdown

    words: list[str] = given.words
    if not words:
        return shown(given, lambda at: ask.review(at, given.days), review_markdown if given.markdown else review_lines)
    if len(words) != 3 or words[0] != "mark" or words[2] not in ("good", "bad"):
        print(f"write {USAGE}", file=sys.stderr)
        return WRONG_USE
    marked = _marked(words[1], words[2], given.by)
    return told(given, lambda at, token: ask.outcome(at, marked, token))


def _marked(name: str, word: str, by: str) -> dict[str, object]:
    """The late outcome that a mark is."""
    which = "trace" if re.fullmatch("[0-9a-fA-F]{32}", name) else "session"
    return {which: name, "outcome": "review", "value": word, "at": time.time(), "source": by or "review"}
