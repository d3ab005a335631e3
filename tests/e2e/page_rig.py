"""What the tests of the page at `/` share: a browser, a real server, and a scripted one for where the model has to say
something in particular."""
import contextlib
import json
import queue
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from chromium import Chromium, find_browser
from conftest import Server

ANSWERED = "document.querySelector('#stop').hidden && !!document.querySelector('.message.assistant .stats')"
LAST = "[...document.querySelectorAll('.message.assistant')].at(-1)"


@pytest.fixture(scope="session")
def browser():
    if find_browser() is None:
        pytest.skip("there is no Chromium here (scripts/setup --tests)")
    chromium = Chromium()
    yield chromium
    chromium.close()


@pytest.fixture(scope="session")
def page_server(browser):  # none without a browser
    """A small cache, so that the picture of its blocks has something to show."""
    with Server("--served-model-name", "octavo-tiny", "--kv-cache-memory-bytes", "16M") as server:
        yield server


class Scripted:
    """Stands before a real server: it answers chats itself, by `script`, and passes everything else on.

    `script` yields chunks' deltas, an integer (an HTTP status to fail with), or a dict with "error" for an error event."""

    def __init__(self, upstream, script):
        self.bodies = queue.Queue()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                request = urllib.request.Request(upstream + self.path, headers={"Accept-Encoding": "gzip"})
                with urllib.request.urlopen(request) as reply:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(reply.read())

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.put(body)
                steps = script(body)
                step = next(steps)
                if isinstance(step, int):
                    data = json.dumps({"error": {"message": f"failure {step}", "code": step}}).encode()
                    self.send_response(step)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                tokens = 0
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    while step is not None:
                        tokens += 1
                        chunk = step if "error" in step else {
                            "choices": [{"index": 0, "delta": step, "finish_reason": None}],
                            "usage": {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}}
                        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                        self.wfile.flush()
                        step = next(steps, None)
                    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
                    self.wfile.write(b"data: " + json.dumps(end).encode() + b"\n\ndata: [DONE]\n\n")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def says(*texts):
    """A script that answers everything with these pieces."""
    def script(_):
        yield from ({"content": text} for text in texts)
    return script


def ask(page, text):
    page.js("document.querySelector('#input').focus()")
    page.type(text)
    page.press("Enter")
    page.wait(f"document.querySelectorAll('.message.user').length > 0 && {ANSWERED}")


def ready(page):
    """Waits until the page knows the model."""
    page.wait("document.querySelector('#model').value !== ''")
    return page


def open_page(browser, server, **options):
    return ready(browser.page(server.url, **options))


@pytest.fixture(scope="session")
def plain_page(browser, page_server):
    """For tests that use the page's modules and leave no trace on it."""
    return open_page(browser, page_server)


@pytest.fixture
def scripted_page(browser, page_server):
    """open(script) gives a page whose model follows the script, and the server that plays it."""
    with contextlib.ExitStack() as stack:
        def open_scripted(script, **options):
            server = stack.enter_context(Scripted(page_server.url, script))
            return ready(browser.page(server.url, **options)), server
        yield open_scripted
