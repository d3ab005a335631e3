"""The real program, started once for most tests, spoken to by real clients.

OCTAVO_BIN names another program than build/octavo. --long runs the endurance tests at full length."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import openai
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "octavo-tiny"
BIN = Path(os.environ.get("OCTAVO_BIN", ROOT / "build" / "octavo"))


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="endurance tests at full length")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """`octavo serve` on a free port of the loopback; `seconds` is the time from exec to the first healthy answer."""

    def __init__(self, *args, model=MODEL, env=None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [str(BIN), "serve", str(model), "--host", "127.0.0.1", "--port", str(self.port), *map(str, args)]
        started = time.perf_counter()
        # A file, not a pipe: nobody reads it while the server writes, and a full pipe would stop the server.
        self.log_file = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stderr=self.log_file, stdout=subprocess.DEVNULL,
                                        env={**os.environ, **(env or {})})
        while True:
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=5) as reply:
                    if reply.status == 200:
                        break
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(f"the server ended: {self.read_log()}")
                if time.perf_counter() - started > 60:
                    self.process.kill()
                    raise RuntimeError("the server was not ready within a minute")
                time.sleep(0.002)
        self.seconds = time.perf_counter() - started
        self.client = openai.OpenAI(base_url=self.url + "/v1", api_key="none", max_retries=0, timeout=120)

    @property
    def model(self):
        return self.client.models.list().data[0].id

    def request(self, path, body=None, method=None, headers=None, raw=None):
        """(status, decoded body): JSON where it is JSON, text otherwise."""
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        request = urllib.request.Request(self.url + path, data=data, method=method or ("POST" if data is not None else "GET"),
                                         headers={"Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                status, text = reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def metrics(self):
        """{name or name{labels}: value} of /metrics, labels model_name and engine left out."""
        values = {}
        for line in self.request("/metrics")[1].splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                bare, _, labels = name.partition("{")
                kept = [x for x in labels.rstrip("}").split(",") if x and not x.startswith(("model_name=", "engine="))]
                values[bare + ("{" + ",".join(kept) + "}" if kept else "")] = float(value)
        return values

    def read_log(self):
        self.log_file.seek(0)
        return self.log_file.read()

    def wait_idle(self, seconds=20):
        """Waits until no request runs or waits; returns the metrics of that moment."""
        deadline = time.time() + seconds
        while time.time() < deadline:
            m = self.metrics()
            if m["vllm:num_requests_running"] + m["vllm:num_requests_waiting"] == 0:
                return m
            time.sleep(0.02)
        raise AssertionError("requests are left over")

    def memory_kib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self, sig=signal.SIGTERM, timeout=40):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(timeout)
        finally:
            if self.process.poll() is None:
                self.process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


@pytest.fixture(scope="session")
def server():
    with Server() as s:
        yield s


@pytest.fixture(scope="session")
def server32():
    """The same in float32, for comparisons with the reference."""
    with Server("--dtype", "float32") as s:
        yield s


@pytest.fixture
def long(request):
    return request.config.getoption("--long")


@pytest.fixture(scope="session")
def reference():
    return json.loads((ROOT / "tests" / "data" / "octavo-tiny-reference.json").read_text())
