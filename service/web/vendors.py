"""What vendors send back of what people do there: a button in Slack, an acknowledgement in PagerDuty.

Anybody may call these doors. So nothing of a body is read before its signature is found to be right, and there is no
door where no secret is set.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import httpx
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.notifiers.inbound import Inbound
from service.notifiers.request import HttpRequest
from service.web.people import People, body_of, json_of, refused

EVENT_MAX = 512 << 10
REPLIES_MAX = 4
"""Answers under way to people at a vendor: more are left out, as what they did is done all the same."""
log = logging.getLogger("tocsin")


class Vendors:
    """The doors for vendors whose secret is set.

    secrets  each vendor's, with what it sends back
    post     sends a vendor's person an answer
    """

    def __init__(
        self, people: People, secrets: list[tuple[Inbound, str]], now_ns: Callable[[], int],
        post: Callable[[HttpRequest], Awaitable[object]],
    ) -> None:  # fmt: skip
        self._people, self._secrets, self._now_ns, self._post = people, secrets, now_ns, post
        self._replying = 0

    def doors(self) -> list[Route]:
        """Where they send it."""
        return [Route(one.path, self._door(one, secret), methods=["POST"]) for one, secret in self._secrets]

    def _door(self, inbound: Inbound, secret: str) -> Callable[[Request], Awaitable[Response]]:
        async def take(request: Request) -> Response:
            return await self._take(inbound, secret, request)

        return take

    async def _take(self, inbound: Inbound, secret: str, request: Request) -> Response:
        """Take in what a person did there; answered at once, as vendors wait for few seconds."""
        try:
            body = await body_of(request, EVENT_MAX)
        except ValueError as error:
            return refused(413, str(error))
        if problem := inbound.problem(secret, request.headers, body, self._now_ns()):
            log.warning("%s: a request was refused: %s", inbound.path, problem)
            return refused(401, problem)
        try:
            asked, reply = inbound.read(body)
        except (ValueError, RecursionError) as error:
            return refused(400, str(error))
        words, said = [], []
        for one in asked:
            try:
                words.append(await self._people.read(one.kind, one.written))
            except ValueError as error:
                said.append(str(error))
        try:
            answers = await self._people.say(tuple(words)) if words else ()
        except (asyncio.QueueFull, TimeoutError):
            return refused(503, "too much waits to be read; try again in a minute")
        text = "; ".join([*said, *(answer.error or answer.message for answer in answers)])
        answered = json_of({"ok": True, "message": text})
        if text and reply and (back := reply(text)):
            answered.background = BackgroundTask(self._reply, back)
        return answered

    async def _reply(self, request: HttpRequest) -> None:
        """Tell the person, once the vendor has its answer."""
        if self._replying >= REPLIES_MAX:
            return
        self._replying += 1
        try:
            await self._post(request)
        except httpx.HTTPError as error:  # Its text may hold the URL, which is a secret of some minutes.
            log.warning("nobody could be answered: %s", type(error).__name__)
        finally:
            self._replying -= 1
