"""A hub of models on the loopback, as huggingface.co looks to a client: a list of files, their checksums in ETags, and
large files behind a redirect to another host (another port here). It can cut, damage, slow down and refuse."""
import hashlib
import http.server
import json
import re
import ssl
import threading
import time

COMMIT = "c0ffee" * 6 + "c0de"
LARGE = 1 << 20  # files of this size and more lie on the other host, named by their SHA-256


def checksum(data):
    if len(data) >= LARGE:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class StandInHub:
    """`files`: {name: bytes} of the one model octavo/tiny. What is set on it counts from the next request on."""

    def __init__(self, files, certificate=None):
        self.files = dict(files)
        self.commit = COMMIT
        self.revisions = {"main"}
        self.listed = None      # names to list instead of the files'
        self.token = None       # asked for, if set
        self.refusal = None     # (status, X-Error-Code) for every file
        self.cut_after = {}     # file: sizes of the answers to cut off, one for each request
        self.damage = {}        # file: how many answers to damage
        self.ranges = True
        self.delay = 0          # seconds before each 64 KiB of a large file
        self.etags = {}         # file: an ETag of its own
        self.log = []           # (host, method, path, Range, Authorization)
        self.sent = 0           # bytes of files
        self.hub, self.cdn = self.start("hub", certificate), self.start("cdn", certificate)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://localhost:{self.hub.server_address[1]}"
        self.cdn_url = f"{scheme}://localhost:{self.cdn.server_address[1]}"

    def start(self, host, certificate):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler(host))
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in (self.hub, self.cdn):
            server.shutdown()
            server.server_close()

    def asked_for(self, pattern, host=None):
        return [entry for entry in self.log if re.search(pattern, entry[2]) and host in (None, entry[0])]

    def handler(outer, host):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.log.append((host, self.command, self.path, self.headers.get("Range"),
                                  self.headers.get("Authorization")))
                try:
                    outer.answer(self, host)
                except OSError:  # the client has gone
                    self.close_connection = True

            do_HEAD = do_GET

        return Handler

    def reply(self, request, status, headers, body=b""):
        request.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            request.send_header(name, str(value))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    def refuse(self, request, status, code):
        self.reply(request, status, {"X-Error-Code": code} if code else {})

    def answer(self, request, host):
        if host == "cdn":
            return self.send_file(request, request.path[1:], {})
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.refuse(request, 401, "RepoNotFound")
        if found := re.fullmatch(r"/api/models/octavo/tiny/revision/(.+)", request.path):
            if found[1].replace("%2F", "/") not in self.revisions | {self.commit}:
                return self.refuse(request, 404, "RevisionNotFound")
            names = self.listed if self.listed is not None else self.files
            return self.reply(request, 200, {}, json.dumps(
                {"id": "octavo/tiny", "sha": self.commit, "siblings": [{"rfilename": n} for n in names]}).encode())
        found = re.fullmatch(r"/octavo/tiny/resolve/(\w+)/(.+)", request.path)
        if not found:
            return self.refuse(request, 401, "RepoNotFound")
        if self.refusal:
            return self.refuse(request, *self.refusal)
        name = found[2]
        if found[1] not in self.revisions | {self.commit} or name not in self.files:
            return self.refuse(request, 404, "EntryNotFound")
        data = self.files[name]
        etag = self.etags.get(name, checksum(data))
        if len(data) < LARGE:
            return self.send_file(request, name, {"ETag": f'"{etag}"', "X-Repo-Commit": self.commit})
        self.reply(request, 302, {"Location": f"{self.cdn_url}/{name}", "X-Linked-Etag": f'"{etag}"',
                                  "X-Linked-Size": len(data), "X-Repo-Commit": self.commit})

    def send_file(self, request, name, headers):
        data, begin, status = self.files[name], 0, 200
        found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if found and self.ranges:
            begin, status = int(found[1]), 206
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        body = data[begin:]
        request.send_response(status)
        for key, value in {"Content-Length": len(body), **headers}.items():
            request.send_header(key, str(value))
        request.end_headers()
        if request.command == "HEAD":
            return
        if self.damage.get(name, 0) > 0:
            self.damage[name] -= 1
            body = bytes([body[0] ^ 1]) + body[1:]
        if self.cut_after.get(name):
            body = body[:self.cut_after[name].pop(0)]
            request.close_connection = True
        for at in range(0, len(body), 65536):
            if self.delay and len(data) >= LARGE:
                time.sleep(self.delay)
            request.wfile.write(body[at:at + 65536])
            self.sent += len(body[at:at + 65536])
