"""Heads that say in two ways how long the body is: refused, as who stands before us may read them the other way.

h11 takes the first two of these, as RFC 9112 allows.
"""

import re

import h11

_END = re.compile(rb"\r?\n\r?\n")
_LENGTHS = re.compile(rb"^content-length[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_ENCODINGS = re.compile(rb"^transfer-encoding[ \t]*:", re.IGNORECASE | re.MULTILINE)


def refusal(head: bytes) -> str:
    """Why a request's head is refused; empty if it is not.

    >>> refusal(b"POST / HTTP/1.1\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked")
    'both Content-Length and Transfer-Encoding; send one of them'
    """
    lengths, encodings = _LENGTHS.findall(head), _ENCODINGS.findall(head)
    if lengths and encodings:
        return "both Content-Length and Transfer-Encoding; send one of them"
    if len(lengths) > 1 or any(b"," in length for length in lengths):
        return "more than one Content-Length; send one"
    if encodings and head.partition(b"\n")[0].rstrip().endswith(b"HTTP/1.0"):
        return "Transfer-Encoding in HTTP/1.0, which has none; send Content-Length"
    return ""


class Strict(h11.Connection):
    """h11's connection of a server, which refuses such heads. `refusal` says why, once it has."""

    def __init__(self, our_role: type[h11.SERVER]) -> None:
        super().__init__(our_role)
        self.refusal = ""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event. Raises h11.RemoteProtocolError."""
        if self.their_state is h11.IDLE:
            received = self.trailing_data[0]
            end = _END.search(received)
            self.refusal = refusal(received[: end.start()]) if end else ""
            if self.refusal:
                raise h11.RemoteProtocolError(self.refusal, error_status_hint=400)
        return super().next_event()
