"""A small web server for the tests and the demo: web.py NAME PORT FOLDER

Answers every GET with its name, in the body and in the header X-Server. A file in FOLDER changes that while it is there: `errors`
(status 500), `name` (its text instead of the name), `slow` (seconds to wait first).
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

name, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])


def told(what: str) -> "str | None":
    try:
        return (folder / what).read_text().strip()
    except FileNotFoundError:
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A header and its body leave together.
    wbufsize = -1

    def do_GET(self) -> None:
        pause = told("slow")
        if pause:
            time.sleep(float(pause))
        me = told("name") or name
        status = 500 if told("errors") is not None else 200
        body = f"{me}\n".encode()
        self.send_response(status)
        self.send_header("X-Server", me)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", port), Handler).serve_forever()
