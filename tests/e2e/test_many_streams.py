"""Ten thousand streams at once, with clients among them that misbehave in every way that a socket allows.

The server is the true one but for the model (bench/scripted_server.cc): all streams run, none waits for its turn."""
import resource
import subprocess
import time

import pytest
from conftest import BIN, MODEL, Server
from crowd import (Client, Crowd, DeafClient, DrippingClient, HalfOpenClient, VanishingClient, answer_of, events_of,
                   http_post)

STREAMS = 10_000  # that run at once, a few of which ask slowly
DRIPPING, VANISHING, HALF_OPEN, DEAF = 200, 300, 300, 50
TOKENS = 48
PROMPTS = 8
MAX_UNSENT = 16 << 10
CHAT = "/v1/chat/completions"


class ScriptedServer(Server):
    def __init__(self, *args):
        # Beside the program, but for the release build, whose program stands outside its build folder.
        builds = (BIN.parent, BIN.parent / "release")
        programs = [p for p in (b / "bench" / "bench_scripted_server" for b in builds) if p.exists()]
        assert programs, "bench_scripted_server is not built"
        self.process = subprocess.Popen([programs[0], "--model", MODEL, *map(str, args)], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rsplit(":", 1)[1])


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 12_000:
        pytest.skip(f"the hard limit of open descriptors is {hard}: ten thousand connections need 12,000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def body_of(prompt, **more):
    # Prompts of different lengths have different answers: the script goes by position.
    return {"messages": [{"role": "user", "content": "Go on. " * (prompt + 1)}], "max_tokens": TOKENS, "ignore_eos": True, **more}


def answer(server, prompt):
    status, reply = server.request(CHAT, body_of(prompt))
    assert status == 200, reply
    return reply["choices"][0]["message"]["content"]


def text_of(events):
    return "".join(e["choices"][0]["delta"].get("content", "") for e in events if e["choices"])


def test_ten_thousand_streams_beside_clients_that_misbehave(many_descriptors):
    with ScriptedServer("--step-ms", 1) as s:
        reference = [answer(s, i) for i in range(PROMPTS)]
    assert len(set(reference)) == PROMPTS
    with ScriptedServer("--step-ms", 400, "--max-num-seqs", 16_384, "--max-unsent-bytes", MAX_UNSENT) as s:
        asked = [http_post(CHAT, body_of(i, stream=True, stream_options={"include_usage": True})) for i in range(PROMPTS)]
        good = [(DrippingClient if i < DRIPPING else Client)(asked[i % PROMPTS]) for i in range(STREAMS)]
        # Many choices, so that what waits for the deaf ones is soon more than the kernel and the server keep for them.
        deaf = [DeafClient(http_post(CHAT, body_of(0, stream=True, n=32))) for _ in range(DEAF)]
        bad = deaf + [VanishingClient(asked[0]) for _ in range(VANISHING)] + [HalfOpenClient(asked[0]) for _ in range(HALF_OPEN)]
        everyone = good[:DRIPPING] + bad + good[DRIPPING:]

        before, descriptors = s.memory_kib(), s.descriptors()
        peak, most, unwell = before, 0, []

        def all_good_have_ended():
            nonlocal peak, most
            peak = max(peak, s.memory_kib())
            most = max(most, sum(client.begun() and not client.ended for client in good))
            if s.request("/health")[0] != 200:
                unwell.append(time.time())
            return all(client.ended for client in good)

        with Crowd(s.port, everyone) as crowd:
            assert crowd.run_until(all_good_have_ended, 300)
            assert most == STREAMS, "they did not run at once"
            assert not unwell

            ids = set()
            for i, client in enumerate(good):
                status, body = answer_of(client.received)
                assert (status, body is not None) == (200, True), f"stream {i}: {bytes(client.received[:300])}"
                events = events_of(body)
                assert text_of(events) == reference[i % PROMPTS], f"stream {i}"
                assert events[-1]["usage"]["completion_tokens"] == TOKENS
                assert {event["id"] for event in events} == {events[0]["id"]}
                ids.add(events[0]["id"])
            assert len(ids) == STREAMS

            # Deaf clients were cut off, so their requests ended early; so did those of clients that left.
            m = s.wait_idle()
            assert m['vllm:request_success_total{finished_reason="abort"}'] == DEAF + VANISHING
            assert m["vllm:kv_cache_usage_perc"] == 0
            for client in deaf:
                assert b"data: [DONE]" not in drain(client.sock)

        per_stream = (peak - before) * 1024 / (STREAMS + DEAF + VANISHING + HALF_OPEN)
        print(f"{per_stream:.0f} bytes of memory for each connection")
        assert per_stream < 64 << 10

        deadline = time.time() + 10
        while s.descriptors() > descriptors and time.time() < deadline:
            time.sleep(0.05)
        assert s.descriptors() <= descriptors, "connections are left over"


def drain(sock):
    """What still lies in the socket, to the end of the stream or until nothing more comes for a second."""
    sock.setblocking(True)
    sock.settimeout(1)
    received = bytearray()
    try:
        while data := sock.recv(1 << 16):
            received += data
    except OSError:
        pass
    return received
