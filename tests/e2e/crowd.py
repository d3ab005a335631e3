"""Thousands of clients over raw sockets and one epoll: those that read what they are sent, and those that misbehave.
Used by test_many_streams.py and bench/crowd_latency.py."""
import json
import random
import select
import socket
import struct
import time

TICK = 0.02  # seconds between two bytes of a dripping request, and between two batches of connections


def http_post(path, body):
    data = json.dumps(body).encode()
    return (b"POST %s HTTP/1.1\r\nHost: crowd\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" %
            (path.encode(), len(data)) + data)


class Client:
    """Sends its request, reads the answer; `received` is all of it, and `times` (with `timed`) when events came."""

    def __init__(self, request, timed=False):
        self.request = request
        self.received = bytearray()
        self.times = [] if timed else None
        self.started = 0.0
        self.ended = False  # it has read all that it wanted, or the server has closed
        self.sock = None

    def connect(self, port):
        self.sock = socket.socket()
        self.prepare()
        self.sock.connect(("127.0.0.1", port))
        self.started = time.perf_counter()
        self.sock.setblocking(False)
        self.begin()

    def prepare(self):
        pass

    def begin(self):
        self.sock.sendall(self.request)

    def tick(self):
        """Called once a tick. False: no more."""
        return False

    def wants_to_read(self):
        return True

    def on_bytes(self, data):
        self.received += data
        if self.times is not None and b"data: " in data:
            self.times.append(time.perf_counter())
        if data.endswith(b"0\r\n\r\n"):
            self.close()

    def close(self):
        self.ended = True
        self.sock.close()

    def begun(self):
        return b"data: " in self.received


class DrippingClient(Client):
    """Well-behaved, and slow to ask: a byte every `ticks`."""

    def __init__(self, request, ticks=1):
        super().__init__(request)
        self.ticks = ticks
        self.tick_number = random.randrange(ticks)
        self.sent = 0

    def begin(self):
        pass

    def tick(self):
        self.tick_number += 1
        if self.tick_number % self.ticks == 0:
            self.sock.send(self.request[self.sent:self.sent + 1])
            self.sent += 1
        return self.sent < len(self.request)


class VanishingClient(Client):
    """Resets the connection in the midst of its answer, at a random place of its first bytes."""

    def __init__(self, request, within=4000):
        super().__init__(request)
        self.patience = random.randrange(1, within)

    def on_bytes(self, data):
        self.received += data
        if len(self.received) >= self.patience:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()


class DeafClient(Client):
    """Never reads its answer, of which its own buffers take little."""

    def prepare(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)

    def wants_to_read(self):
        return False


class HalfOpenClient(DeafClient):
    """Sends the half of a request and then nothing."""

    def begin(self):
        self.sock.sendall(self.request[:len(self.request) // 2])


class Crowd:
    def __init__(self, port, clients, connects_a_tick=100):
        self.port = port
        self.clients = clients
        self.connects_a_tick = connects_a_tick
        self.waiting = list(reversed(clients))
        self.ticking = []
        self.epoll = select.epoll()
        self.by_fd = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.epoll.close()
        for client in self.clients:
            if client.sock:
                client.sock.close()

    def add(self, clients):
        self.clients += clients
        self.waiting[:0] = reversed(clients)

    def run_until(self, reached, seconds, every=1.0):
        """Lets the clients act until `reached()`, which is asked `every` so many seconds. False: the time was up."""
        deadline = time.perf_counter() + seconds
        next_tick = next_look = 0
        while True:
            now = time.perf_counter()
            if now >= next_look:
                if reached():
                    return True
                if now > deadline:
                    return False
                next_look = now + every
            if now >= next_tick:
                self._tick()
                next_tick = now + TICK
            for fd, _ in self.epoll.poll(TICK, 4096):
                self._read(fd)

    def _tick(self):
        self.ticking = [client for client in self.ticking if client.tick()]
        for _ in range(min(self.connects_a_tick, len(self.waiting))):
            client = self.waiting.pop()
            client.connect(self.port)
            self.ticking.append(client)
            if client.wants_to_read():
                self.by_fd[client.sock.fileno()] = client
                self.epoll.register(client.sock.fileno(), select.EPOLLIN)

    def _read(self, fd):
        client = self.by_fd[fd]
        try:
            data = client.sock.recv(1 << 16)
        except ConnectionError:
            data = b""
        if data:
            client.on_bytes(data)
        else:
            client.close()
        if client.ended:
            del self.by_fd[fd]  # closing took it off the epoll


def answer_of(received):
    """(status, body) of a chunked answer, or (status, None) where it is not whole."""
    head, _, rest = bytes(received).partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    body, at = [], 0
    while True:
        end = rest.find(b"\r\n", at)
        if end < 0:
            return status, None
        size = int(rest[at:end], 16)
        if size == 0:
            return status, b"".join(body)
        body.append(rest[end + 2:end + 2 + size])
        if rest[end + 2 + size:end + 4 + size] != b"\r\n":
            return status, None
        at = end + size + 4


def events_of(body):
    """The JSON of each event of a stream that ended with [DONE]."""
    events = body.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""], events[-2:]
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
