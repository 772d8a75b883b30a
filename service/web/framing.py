"""Requests that cannot be read: what is said of each, and what the parser takes that we refuse.

The parser (llhttp) refuses heads that tell the length of a body in two ways, as who stands before us may read them
the other way. It takes Transfer-Encoding in HTTP/1.0, which has none.
"""

from collections.abc import Iterable

HEAD_BYTES_MAX = 64 << 10
"""Of a head that has not come to its end."""
TOO_LONG = f"the head of the request is over {HEAD_BYTES_MAX} bytes; send fewer or shorter headers"
_BOTH = "both Content-Length and Transfer-Encoding; send one of them"
_SAID = {
    "Transfer-Encoding can't be present with Content-Length": _BOTH,
    "Content-Length can't be present with Transfer-Encoding": _BOTH,
    "Duplicate Content-Length": "more than one Content-Length; send one",
    "Invalid character in Content-Length": "Content-Length is not one whole number; send one",
}
"""Our words for the parser's reasons, where a sender may need to know what to send instead."""


def reason(error: Exception) -> str:
    """What a sender is told whose request the parser refused.

    >>> reason(ValueError("Duplicate Content-Length"))
    'more than one Content-Length; send one'
    >>> reason(ValueError("Invalid header token"))
    'this is not HTTP/1.1: Invalid header token'
    """
    said = str(error.__context__ or error)
    return _SAID.get(said, f"this is not HTTP/1.1: {said:.200}".encode("ascii", "replace").decode())


def refusal(version: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Why a head is refused that the parser takes; empty if it is not.

    >>> refusal("1.0", [(b"transfer-encoding", b"chunked")])
    'Transfer-Encoding in HTTP/1.0, which has none; send Content-Length'
    """
    if version == "1.0" and any(name == b"transfer-encoding" for name, _ in headers):
        return "Transfer-Encoding in HTTP/1.0, which has none; send Content-Length"
    return ""
