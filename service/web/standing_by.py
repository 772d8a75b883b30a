"""What an instance of role detect shows while another one leads: metrics, health, and who is to be asked instead."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.web.people import json_of
from service.web.plain import PlainWeb

METHODS = ["GET", "POST", "PUT", "DELETE"]
RETRY_S = "5"


def standing_by(web: PlainWeb, leader: Callable[[], str]) -> PlainWeb:
    """The same routes, and an answer at all others: nothing is shown or taken here.

    leader  says who leads, in words
    """

    async def elsewhere(request: Request) -> Response:
        error = f"this instance stands by, and takes and shows nothing: {leader()}; ask there"
        answer = json_of({"ok": False, "error": error, "leader": leader()}, 503)
        answer.headers["Retry-After"] = RETRY_S
        return answer

    web.app.router.routes.append(Route("/{path:path}", elsewhere, methods=METHODS))
    return web
