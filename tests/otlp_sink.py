"""An OTLP/HTTP door that takes packed bodies and answers as it is told, where a backend would be."""

import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from service.sources.otlp_http import PROTOBUF

Take = Callable[[str, Mapping[str, str], bytes], int]
"""Given the path of a request, its headers by lower-case name, and its body unpacked; gives the status to answer."""


@contextmanager
def taking(take: Take) -> Iterator[int]:
    """The port of such a door."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(take(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_header("Content-Type", PROTOBUF)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
