"""The ways to a server other than plain HTTP on a port: TLS, Unix sockets, paths below a proxy's, pages of other
origins; and what each costs. Certificates are made here, by openssl."""
import http.client
import os
import socket
import ssl
import subprocess
import time

import httpx
import openai
import pytest
from conftest import BIN, MODEL, free_port

QUESTION = {"model": "octavo-tiny", "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "temperature": 0, "max_tokens": 8}


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, **options)


def make_certificate(folder, name, authority=None):
    """A key and a certificate of localhost, signed by itself or by `authority`."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-keyout", key, "-out", certificate, "-days", "2", "-subj", f"/CN={name}",
               "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    if authority:
        command += ["-CA", authority[1], "-CAkey", authority[0]]
    made = run(*command)
    if made.returncode != 0 and authority:  # OpenSSL 3.0's `req` signs only for itself
        request = folder / f"{name}.csr"
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
            "-out", request, "-subj", f"/CN={name}", check=True)
        made = run("openssl", "x509", "-req", "-in", request, "-CA", authority[1], "-CAkey", authority[0],
                   "-CAcreateserial", "-days", "2", "-out", certificate)
    assert made.returncode == 0, made.stderr
    return key, certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


class Program:
    """`octavo serve` with any flags; ready once `connect` opens a connection that answers /health."""

    def __init__(self, *args, connect, env=None):
        self.process = subprocess.Popen([str(BIN), "serve", str(MODEL), "--served-model-name", "octavo-tiny", *map(str, args)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        deadline = time.time() + 60
        while True:
            try:
                if request(connect(), "GET", "/health")[0] == 200:
                    return
            except OSError:
                if self.process.poll() is not None or time.time() > deadline:
                    self.process.kill()
                    raise RuntimeError(self.process.stderr.read()) from None
                time.sleep(0.01)

    def stop(self):
        """(exit code, stdout, stderr)"""
        self.process.terminate()
        out, err = self.process.communicate(timeout=40)
        return self.process.returncode, out, err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


def request(connection, method, path, headers=None):
    """(status, headers, body) over a fresh http.client connection."""
    try:
        connection.request(method, path, headers=headers or {})
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read().decode(errors="replace")
    finally:
        connection.close()


def refused(*args):
    """What `octavo serve` says before it exits with 1 or 2 because of its flags; no model is loaded for it."""
    ended = run(BIN, "serve", MODEL, *args)
    assert ended.returncode in (1, 2) and ended.stdout == ""
    assert "Traceback" not in ended.stderr and "loading" not in ended.stderr
    return ended.stderr


class Https(Program):
    def __init__(self, certificate, *args):
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.context = ssl.create_default_context(cafile=certificate[1])
        super().__init__("--host", "127.0.0.1", "--port", self.port, "--ssl-keyfile", certificate[0], "--ssl-certfile",
                         certificate[1], *args,
                         connect=lambda: http.client.HTTPSConnection("localhost", self.port, context=self.context))

    def serial(self):
        with socket.create_connection(("localhost", self.port)) as plain:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain) as s:
                return s.getpeercert(binary_form=True)


@pytest.fixture(scope="module")
def https(certificate):
    with Https(certificate) as server:
        yield server


def test_curl_and_the_sdk_speak_https(https, certificate):
    got = run("curl", "--silent", "--show-error", "--cacert", certificate[1], https.url + "/version")
    assert got.returncode == 0 and "version" in got.stdout, got.stderr
    assert run("curl", "--silent", https.url + "/version").returncode == 60, "an unknown certificate is not accepted"
    with httpx.Client(verify=https.context) as web:
        client = openai.OpenAI(base_url=https.url + "/v1", api_key="none", http_client=web, max_retries=0)
        whole = client.chat.completions.create(**QUESTION).choices[0].message.content
        chunks = list(client.chat.completions.create(**QUESTION, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole != ""
        assert len(chunks) > 3


def test_a_handshake_may_come_byte_by_byte(https):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = https.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", https.port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.settimeout(10)

        def send():
            for byte in outgoing.read():
                s.sendall(bytes([byte]))

        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                send()
                incoming.write(s.recv(100))
        tls.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        send()
        while True:
            try:
                assert tls.read(100).startswith(b"HTTP/1.1 200 ")
                break
            except ssl.SSLWantReadError:
                incoming.write(s.recv(100))


def test_plain_http_on_the_tls_port_is_told_so(https):
    status, _, body = request(http.client.HTTPConnection("127.0.0.1", https.port, timeout=10), "GET", "/health")
    assert status == 400 and "https://" in body


def test_half_open_handshakes_cost_nobody_else(https):
    waiting = [socket.create_connection(("127.0.0.1", https.port)) for _ in range(200)]
    for s in waiting[::2]:
        s.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    started = time.perf_counter()
    connection = http.client.HTTPSConnection("localhost", https.port, context=https.context, timeout=10)
    assert request(connection, "GET", "/health")[0] == 200
    assert time.perf_counter() - started < 5
    for s in waiting:
        s.close()


def test_clients_certificates(tmp_path, certificate):
    authority = make_certificate(tmp_path, "authority")
    key, client = make_certificate(tmp_path, "client", authority)
    port = free_port()
    context = ssl.create_default_context(cafile=certificate[1])
    context.load_cert_chain(client, key)
    with Program("--host", "127.0.0.1", "--port", port, "--ssl-keyfile", certificate[0], "--ssl-certfile", certificate[1],
                 "--ssl-ca-certs", authority[1], "--ssl-cert-reqs", "2",
                 connect=lambda: http.client.HTTPSConnection("localhost", port, context=context)):
        without = ssl.create_default_context(cafile=certificate[1])
        with pytest.raises(OSError):
            request(http.client.HTTPSConnection("localhost", port, context=without, timeout=10), "GET", "/health")
        stranger = ssl.create_default_context(cafile=certificate[1])
        stranger.load_cert_chain(certificate[1], certificate[0])
        with pytest.raises(OSError):
            request(http.client.HTTPSConnection("localhost", port, context=stranger, timeout=10), "GET", "/health")


def test_certificates_are_renewed_under_way(tmp_path):
    pair = make_certificate(tmp_path, "server")
    with Https(pair, "--enable-ssl-refresh") as server:
        before = server.serial()
        open_since = http.client.HTTPSConnection("localhost", server.port, context=server.context)
        open_since.request("GET", "/health")
        open_since.getresponse().read()
        make_certificate(tmp_path, "server")
        assert server.serial() != before
        open_since.request("GET", "/health")
        assert open_since.getresponse().status == 200, "a connection keeps what it began with"


def test_what_is_wrong_with_certificates_is_one_line(tmp_path, certificate):
    other = make_certificate(tmp_path, "other")
    absent = tmp_path / "absent.pem"
    for flags, words in [(("--ssl-certfile", absent), f"--ssl-certfile: cannot use {absent}: No such file"),
                         (("--ssl-certfile", certificate[1], "--ssl-keyfile", other[0]), f"--ssl-keyfile: cannot use {other[0]}"),
                         (("--ssl-keyfile", certificate[0]), "--ssl-keyfile needs --ssl-certfile"),
                         (("--ssl-certfile", certificate[1], "--ssl-keyfile", certificate[0], "--ssl-cert-reqs", "2"),
                          "--ssl-cert-reqs needs --ssl-ca-certs"),
                         (("--ssl-cert-reqs", "3"), "--ssl-cert-reqs: must be between 0 and 2"),
                         (("--ssl-certfile", certificate[1], "--ssl-keyfile", certificate[0], "--ssl-ciphers", "nonsense"),
                          "--ssl-ciphers: 'nonsense'"),
                         (("--root-path", "api"), "--root-path"),
                         (("--allowed-origins", "https://a"), "--allowed-origins: must be a JSON list of strings"),
                         (("--forwarded-allow-ips", "proxy"), "--forwarded-allow-ips: 'proxy' is no address")]:
        said = refused(*flags)
        assert words in said, said
        assert said.count("octavo: ") == 1


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def test_a_unix_socket_in_place_of_a_port(tmp_path):
    path = tmp_path / "octavo.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with Program("--uds", path, connect=lambda: Unix(path)) as server:
        got = run("curl", "--silent", "--unix-socket", path, "http://localhost/v1/models")
        assert "octavo-tiny" in got.stdout
        assert run(BIN, "serve", MODEL, "--uds", path).stderr.count("a server answers there already") == 1
        assert request(Unix(path), "GET", "/health")[0] == 200, "the first server is unharmed"
        code, out, err = server.stop()
    assert code == 0 and "--unix-socket" in out and "unix - \"GET /v1/models\" 200" in err
    assert not path.exists(), "the socket goes with its server"
    path.write_text("a file")
    assert "no socket" in run(BIN, "serve", MODEL, "--uds", path).stderr
    assert path.read_text() == "a file"


def test_behind_a_proxy():
    port = free_port()
    plain = lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=10)  # noqa: E731
    with Program("--host", "127.0.0.1", "--port", port, "--root-path", "/llm/", "--forwarded-allow-ips", "127.0.0.0/8",
                 "--allowed-origins", '["https://a.example"]', "--allow-credentials", connect=plain) as server:
        for path in ("/version", "/llm/version"):
            assert request(plain(), "GET", path, {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"})[0] == 200
        status, headers, _ = request(plain(), "GET", "/llm")
        assert (status, headers["location"]) == (307, "/llm/")
        assert request(plain(), "GET", "/llm/", {"Accept-Encoding": "gzip"})[0] == 200
        status, headers, _ = request(plain(), "OPTIONS", "/llm/v1/chat/completions",
                                     {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"})
        assert status == 200 and headers["access-control-allow-origin"] == "https://a.example"
        assert headers["access-control-allow-credentials"] == "true"
        assert request(plain(), "GET", "/version", {"Origin": "https://b.example"})[1]["access-control-allow-origin"] is None
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/llm/v1", api_key="none", max_retries=0)
        assert client.chat.completions.create(**QUESTION).choices[0].message.content
        err = server.stop()[2]
    assert err.count('203.0.113.7 - "GET /version" 200') == 2 and "6.6.6.6" not in err


def test_nobodys_forwarded_address_is_believed_by_default(server):
    request(http.client.HTTPConnection("127.0.0.1", server.port), "GET", "/version", {"X-Forwarded-For": "203.0.113.9"})
    assert "203.0.113.9" not in server.read_log()


def test_idle_connections_are_small():
    port = free_port()
    plain = lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=10)  # noqa: E731
    with Program("--host", "127.0.0.1", "--port", port, "--keep-alive-seconds", "60", connect=plain) as server:
        def memory():
            with open(f"/proc/{server.process.pid}/status") as f:
                return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) * 1024

        def open_and_ask(count):
            sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
            for s in sockets:
                s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            for s in sockets:
                while b"\r\n\r\n" not in s.recv(65536):
                    pass
            return sockets

        first = open_and_ask(800)
        before = memory()
        idle = open_and_ask(800)
        each = (memory() - before) / len(idle)
        print(f"{each:.0f} bytes for an idle connection")
        assert each < 8192, "an idle connection keeps no buffers"
        for s in first + idle:
            s.close()
