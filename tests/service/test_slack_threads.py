"""Slack by a bot token: one message an incident, brought up to date in its place, with the story in its thread."""

import asyncio
import json
from collections import deque
from pathlib import Path
from typing import Any

from alertrules.notice import Status
from service.demo.standins import Answer, Script, serving
from service.notifiers import slack
from service.notifiers.destination import Destination
from tests.service.test_deliver import Rig, check, notice, until

CHANNEL = "C0123ABCD"


class SlackApi:
    """`chat.postMessage` and `chat.update` as Slack documents them: messages by their `ts`, replies in threads."""

    def __init__(self) -> None:
        self.script: Script = deque()
        self.messages: dict[str, dict[str, Any]] = {}
        self.lost: set[str] = set()  # Messages that somebody deleted.

    def answer(self, path: str, body: bytes) -> Answer:
        message = json.loads(body)
        if path == "/api/chat.postMessage":
            if message.get("thread_ts", "") in self.lost:
                return self._said({"ok": False, "error": "thread_not_found"})
            ts = f"17000000{len(self.messages):02d}.000100"
            self.messages[ts] = message
            told = {"thread_ts": message["thread_ts"]} if "thread_ts" in message else {}
            return self._said({"ok": True, "channel": CHANNEL, "ts": ts, "message": told})
        if path != "/api/chat.update" or message.get("channel") != CHANNEL:
            return self._said({"ok": False, "error": "channel_not_found"})
        if message["ts"] not in self.messages or message["ts"] in self.lost:
            return self._said({"ok": False, "error": "message_not_found"})
        self.messages[message["ts"]] = message
        return self._said({"ok": True, "channel": CHANNEL, "ts": message["ts"]})

    @staticmethod
    def _said(answer: dict[str, Any]) -> Answer:
        return Answer(200, json.dumps(answer), "application/json")

    def shown(self) -> list[tuple[str, str]]:
        """Each message as people see it now: its first words, and the `ts` of the one that it replies to."""
        return [
            (one["attachments"][0]["fallback"] if "attachments" in one else one["text"], one.get("thread_ts", ""))
            for one in self.messages.values()
        ]


def told(directory: Path, api: SlackApi, *batches: list[Any], lose_first: bool = False) -> Rig:
    """Notices, each batch put in once the one before was told."""

    async def steps(rig: Rig) -> None:
        async with serving(api) as at:
            target = slack.Target("", "xoxb-1", "#agents", api_url=f"{at.url}/api/chat.postMessage")
            bot = Destination("oncall/bot", target)
            async with rig.running(more=[bot]) as deliverer:
                for batch in batches:
                    rig.put(*batch, to=["oncall/bot"])
                    deliverer.wake()
                    await until(lambda: not rig.outbox.targets())
                    if lose_first:
                        api.lost |= set(list(api.messages)[:1])
                await asyncio.sleep(0.1)

    return check(directory, steps)


def test_a_later_notice_updates_the_first_and_replies_to_it(tmp_path: Path) -> None:
    """The channel has one message, that says how things are; what happened stands in its thread."""
    api = SlackApi()
    told(tmp_path, api, [notice(1, 1)], [notice(2, 1)], [notice(3, 1, Status.RESOLVED)])
    first = next(iter(api.messages))
    assert api.shown() == [
        ("✅ Resolved: resolved 3", ""), ("🔴 Firing: firing 2", first), ("✅ Resolved: resolved 3", first),
    ]  # fmt: skip


def test_another_incident_is_another_message(tmp_path: Path) -> None:
    api = SlackApi()
    told(tmp_path, api, [notice(1, 1)], [notice(2, 2)])
    assert [reply for _, reply in api.shown()] == ["", ""]


def test_a_message_that_was_deleted(tmp_path: Path) -> None:
    """What comes then is told all the same, in the least form: nobody deletes a resolve by deleting a page."""
    api = SlackApi()
    told(tmp_path, api, [notice(1, 1)], [notice(2, 1, Status.RESOLVED)], lose_first=True)
    assert api.shown()[-1] == ("Resolved: resolved 2", "")


def test_an_update_that_fails_loses_nothing(tmp_path: Path) -> None:
    """The reply was taken: it is not told again because the first message could not be brought up to date."""
    api = SlackApi()
    answers = iter([False, False, True, False])
    usual = api.answer

    def answer(path: str, body: bytes) -> Answer:
        if path.endswith("chat.update") and next(answers, False) is False:
            return Answer(503, "unavailable")
        return usual(path, body)

    api.answer = answer  # type: ignore[method-assign]
    told(tmp_path, api, [notice(1, 1)], [notice(2, 1)], [notice(3, 1, Status.RESOLVED)])
    assert [said for said, _ in api.shown()] == [
        "🔴 Firing: firing 1", "🔴 Firing: firing 2", "✅ Resolved: resolved 3",
    ]  # fmt: skip
