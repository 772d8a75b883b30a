"""`tocsin page --test`: a marked test page to each destination, and what each of them answered."""

import asyncio
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from functools import partial

import httpx

from alertrules.notice import Notice, NoticeAlert, Status
from service.delivery.client import Client, authorities, new_client
from service.notifiers.destination import Destination
from service.notifiers.request import Delivered, Outcome, Reason, Refused, Retry

RULE = "TocsinTest"
TITLE = "Test page from Tocsin: nothing is wrong"
LINE = "somebody wants to know whether pages arrive here; where it opened an incident, resolve it"


def page(receiver: str, now_ns: int) -> Notice:
    """The notice of a test. It has the urgency of a page, as whether it rings is what is tested."""
    number = secrets.token_hex(32)
    labels = (("agent", "tocsin-test"),)
    alert = NoticeAlert(number, RULE, "page", labels, TITLE, LINE, "", now_ns, 0)
    return Notice(
        notice_id=number, receiver=receiver, group=number, status=Status.FIRING, severity="page", rule=RULE,
        title=TITLE, lines=(LINE,), labels=labels, at_ns=now_ns, began_ns=now_ns, runbook="",
        alert_ids=(number,), alerts=(alert,),
    )  # fmt: skip


def send(receivers: Mapping[str, Iterable[Destination]]) -> list[tuple[Destination, Outcome]]:
    """Send one to each destination of these receivers, once, and return what each answered."""
    asked: dict[str, tuple[Destination, str]] = {}
    for name, mine in receivers.items():
        for one in mine:
            asked.setdefault(one.identity, (one, name))
    return asyncio.run(_send(tuple(asked.values())))


async def _send(asked: tuple[tuple[Destination, str], ...]) -> list[tuple[Destination, Outcome]]:
    client = Client(partial(new_client, len(asked), authorities(os.environ)), time.monotonic_ns)
    try:
        return [(one, await told_once(client, one, page(name, time.time_ns()))) for one, name in asked]
    finally:
        await client.close()


async def told_once(client: Client, one: Destination, notice: Notice) -> Outcome:
    """Send a notice to a destination, without a second try: what it answered."""
    rendered = one.render(notice)
    if isinstance(rendered, tuple):
        print("\n".join(rendered))
        return Delivered()
    try:
        answer = await client.ask(rendered)
    except httpx.HTTPError as error:  # Its text may hold the URL, which may be a secret.
        return Retry(None, Reason.UNREACHABLE, type(error).__name__)
    return one.outcome(answer.status, answer.headers, answer.body, time.time_ns())


def worded(one: Destination, outcome: Outcome) -> str:
    """One line for people."""
    where = f"{one.name}, {one.target.place}"
    if isinstance(outcome, Delivered):
        return f"{where}: took it"
    needs = isinstance(outcome, Refused) and outcome.reason in (Reason.CREDENTIAL, Reason.GONE)
    return f"{where}: did not take it ({outcome.reason}: {outcome.said}){'; look at its key or hook' if needs else ''}"
