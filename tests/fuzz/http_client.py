"""A client that does everything wrong: mutations of good requests, cut into odd pieces, over many connections at once,
half of them over TLS. scripts/fuzz-http starts it. It looks for what a server must never do: end, hang, leak, answer
5xx, or forget the well-behaved."""
import collections
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
THREADS = 8

CHAT = b'{"messages":[{"role":"user","content":"Hello"}],"max_tokens":4,"stream":true}'
GOOD = [
    b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n\r\n",
    b"GET /page/main.js?a=b HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nIf-None-Match: *\r\n\r\n",
    b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: https://a\r\nAccess-Control-Request-Method: POST\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(CHAT), CHAT),
    b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'9\r\n{"prompt"\r\n4;x=y\r\n:"a"\r\n1\r\n}\r\n0\r\nTrailer: z\r\n\r\n',
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
    b'Content-Length: 29\r\n\r\n{"prompt":"a","max_tokens":2}',
    b"GET http://x:1/metrics HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n",
]
WORDS = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"\r\n\r\n", b"\r\n ", b"0\r\n\r\n", b"ffffffffffffffff",
         b"Content-Length: 0\r\n", b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
         b"Host: y\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"HTTP/1.1", b"HTTP/9.9", b"%2e%2e/", b"//",
         b"\xff\xfe", b"A" * 5000, b"[" * 500, b"\x16\x03\x01\x02\x00", b"-1", b"\xf0\x9f\x98\x80", b'"', b"\\u0000"]


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] = rng.randrange(256)
        elif kind == 1:
            del data[at:at + rng.choice((1, 2, 10, 100))]
        elif kind in (2, 3):
            data[at:at] = rng.choice(WORDS)
        elif kind == 4:
            other = rng.choice(GOOD)
            data[at:at] = other[rng.randrange(len(other)):][:rng.randrange(1, 80)]
        elif kind == 5:
            data[at:at + 1] = data[at:at + rng.randrange(1, 40)] * rng.randrange(2, 5)
        else:
            lines = bytes(data).split(b"\r\n")
            rng.shuffle(lines)
            data = bytearray(b"\r\n".join(lines))
    return bytes(data)


class Server:
    def __init__(self, *flags):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = tempfile.TemporaryFile("w+")
        command = [os.environ["OCTAVO_BIN"], "serve", str(ROOT / "models" / "octavo-tiny"), "--host", "127.0.0.1",
                   "--port", str(self.port), "--log-level", "warning", "--keep-alive-seconds", "1",
                   "--forwarded-allow-ips", "127.0.0.1", "--allow-credentials", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log)

    def connect(self, tls):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return tls.wrap_socket(s) if tls else s

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) // 1024

    def stop(self):
        self.process.terminate()
        code = self.process.wait(120)
        self.log.seek(0)
        return code, self.log.read()


def is_served(server, tls):
    try:
        with server.connect(tls) as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return s.recv(100).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


class Fuzzer(threading.Thread):
    def __init__(self, server, tls, seed, end, counts):
        super().__init__()
        self.server, self.tls, self.end, self.counts = server, tls, end, counts
        self.rng = random.Random(seed)
        self.failures = []

    def run(self):
        while time.time() < self.end and not self.failures and self.server.process.poll() is None:
            sent = [mutate(self.rng, self.rng.choice(GOOD)) for _ in range(self.rng.choice((1, 1, 2, 5)))]
            try:
                self.talk(b"".join(sent))
            except OSError:
                self.counts["reset"] += 1
            self.counts["requests"] += len(sent)

    def talk(self, data):
        with self.server.connect(self.tls) as s:
            if self.tls and self.rng.random() < 0.05:  # bytes that are no record of the session
                os.write(s.fileno(), data[:1000])
                self.counts["broken TLS"] += 1
                return
            piece = self.rng.choice((1, 7, 100, 1 << 20, 1 << 20))
            for i in range(0, len(data), piece):
                s.sendall(data[i:i + piece])
                if piece == 1 and i > 300:
                    piece = 1 << 20
                    s.sendall(data[i + 1:])
                    break
            if self.rng.random() < 0.1:
                self.counts["left early"] += 1
                return
            if not self.tls and self.rng.random() < 0.5:
                s.shutdown(socket.SHUT_WR)
            self.read_answers(s, data)

    def read_answers(self, s, data):
        """Until the server closes, or waits for more of the request."""
        answers = b""
        s.settimeout(0.2)
        while len(answers) < 1 << 20:
            try:
                more = s.recv(65536)
            except OSError:
                break
            if not more:
                break
            answers += more
        for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers):
            self.counts[status.decode()] += 1
            if status.startswith(b"5"):
                self.failures.append((status.decode(), data, answers[:2000]))


def certificate(folder):
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", key, "-out", cert], check=True, capture_output=True)
    return ["--ssl-keyfile", str(key), "--ssl-certfile", str(cert)]


def main(seconds):
    seed = int(os.environ.get("OCTAVO_FUZZ_SEED", time.time_ns() % 2**32))
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as folder:
        servers = [(Server(), None), (Server(*certificate(Path(folder))), tls)]
        for server, context in servers:
            while not is_served(server, context):
                if server.process.poll() is not None:
                    sys.exit("the server did not start:\n" + server.stop()[1])
                time.sleep(0.2)
        counts = collections.Counter()
        before = [server.memory() for server, _ in servers]
        fuzzers = [Fuzzer(*servers[i % 2], seed + i, time.time() + seconds, counts) for i in range(THREADS)]
        for fuzzer in fuzzers:
            fuzzer.start()
        for fuzzer in fuzzers:
            fuzzer.join()
        after = [server.memory() for server, _ in servers]
        problems = [f"{status}\n  sent {data!r}\n  got {line!r}" for f in fuzzers for status, data, line in f.failures]
        for server, context in servers:
            if not is_served(server, context):
                problems.append("a good request is not answered any more")
            code, log = server.stop()
            if code != 0 or "Sanitizer" in log or "runtime error" in log or "exception" in log:
                problems.append(f"the program ended with {code}:\n{log[-8000:]}")
    print(f"fuzz-http: seed {seed}, {counts.pop('requests', 0)} requests,", dict(counts),
          f"memory {before} -> {after} MiB")
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main(float(sys.argv[1]))
