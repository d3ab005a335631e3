"""An OTLP collector on the loopback, which decodes what arrives with OpenTelemetry's own message types. It can refuse,
reject a part, and hold its answers back."""
import http.server
import ssl
import threading
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse


def plain(value):
    """An AnyValue as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(v) for v in value.array_value.values]
    return getattr(value, kind)


def attributes(of):
    found = {a.key: plain(a.value) for a in of.attributes}
    assert len(found) == len(of.attributes), "an attribute came twice"
    return found


class StandInCollector:
    """What is set on it counts from the next request on."""

    def __init__(self, certificate=None):
        self.requests = []      # (path, headers, ExportTraceServiceRequest) of every attempt
        self.spans = []         # of the attempts that were answered with 200, each with .resource
        self.answers = []       # (status, headers) of the next answers; then 200
        self.reject = 0         # spans of the next request to reject, with 200
        self.open = threading.Event()  # cleared: answers wait
        self.open.set()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"{'https' if certificate else 'http'}://localhost:{self.server.server_address[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()

    def wait(self, condition, seconds=20):
        """The first true value of condition()."""
        deadline = time.time() + seconds
        while time.time() < deadline:
            if found := condition():
                return found
            time.sleep(0.01)
        raise AssertionError(f"not within {seconds} s; {len(self.requests)} requests, {len(self.spans)} spans")

    def spans_of(self, answer_id, count=1):
        """The spans of one HTTP answer, once there are so many."""
        def found():
            spans = [s for s in self.spans if attributes(s)["gen_ai.request.id"] == answer_id]
            return spans if len(spans) >= count else None
        spans = self.wait(found)
        assert len(spans) == count
        return spans

    def span_of(self, answer_id):
        return self.spans_of(answer_id)[0]

    def handler(outer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                message = ExportTraceServiceRequest.FromString(body)
                outer.requests.append((self.path, dict(self.headers), message))
                outer.open.wait()
                status, headers = outer.answers.pop(0) if outer.answers else (200, {})
                answer = ExportTraceServiceResponse()
                if status == 200:
                    outer.keep(message, answer)
                body = answer.SerializeToString()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:  # the server has given up
                    self.close_connection = True

        return Handler

    def keep(self, message, answer):
        spans = [span for r in message.resource_spans for scope in r.scope_spans for span in scope.spans]
        if self.reject:
            answer.partial_success.rejected_spans = self.reject
            answer.partial_success.error_message = "too old"
            self.reject = 0
        self.spans.extend(spans)
