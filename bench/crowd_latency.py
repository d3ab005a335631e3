#!/usr/bin/env python3
"""Latency of well-behaved streams, alone and among clients that misbehave.

    bench/crowd_latency.py --server build/release/bench/bench_scripted_server

100 streams are timed, of 64 tokens each, a step every 20 ms; beside them lives a crowd in another process: 300 clients
that never read their streams, 300 that reset theirs in the midst and come again, 1,000 that send half a request and
stop, and 1,000 that send theirs a byte every 200 ms. Rounds with and without the crowd take turns. TTFT: from connect to
the first event. ITL: between two events of a stream.
"""
import argparse
import multiprocessing
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from crowd import Client, Crowd, DeafClient, DrippingClient, HalfOpenClient, VanishingClient, http_post  # noqa: E402

CHAT = "/v1/chat/completions"
STREAMS, TOKENS = 100, 64


def ask(tokens, user=""):
    return http_post(CHAT, {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": tokens, "ignore_eos": True,
                            "stream": True, "user": user})


def misbehave(port, stop):
    request = ask(3000)
    dripping = ask(3000, user="x" * 1000)  # enough for minutes

    def vanishing(count):
        return [VanishingClient(request, within=40_000) for _ in range(count)]

    others = [DeafClient(request) for _ in range(300)]
    for _ in range(1000):
        others += [HalfOpenClient(request), DrippingClient(dripping, ticks=10)]
    with Crowd(port, others + vanishing(300)) as crowd:
        def come_again():
            gone = sum(client.ended for client in crowd.clients)
            crowd.clients = [client for client in crowd.clients if not client.ended]
            crowd.add(vanishing(gone))
            return stop.is_set()
        crowd.run_until(come_again, 3600, every=0.02)


def timed_streams(port):
    """[TTFT], [ITL] in ms."""
    clients = [Client(ask(TOKENS), timed=True) for _ in range(STREAMS)]
    with Crowd(port, clients, connects_a_tick=3) as crowd:
        if not crowd.run_until(lambda: all(c.ended for c in clients), 60, every=0.05):
            sys.exit("a stream did not end")
    assert all(b"data: [DONE]" in c.received for c in clients)
    ttft = [(c.times[0] - c.started) * 1e3 for c in clients]
    itl = [(b - a) * 1e3 for c in clients for a, b in zip(c.times, c.times[1:])]
    return ttft, itl


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--server", required=True)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--streams-per-round", type=int, default=3, help="times 100")
    a = p.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = subprocess.Popen([a.server, "--model", ROOT / "models" / "octavo-tiny", "--step-ms", "20", "--max-num-seqs", "4096"],
                              stdout=subprocess.PIPE, text=True)
    port = int(server.stdout.readline().rsplit(":", 1)[1])
    figures = {}
    try:
        timed_streams(port)
        for _ in range(a.rounds):
            for among in (False, True):
                stop = multiprocessing.Event()
                crowd = multiprocessing.Process(target=misbehave, args=(port, stop))
                if among:
                    crowd.start()
                    time.sleep(4)  # all have come
                for _ in range(a.streams_per_round):
                    ttft, itl = timed_streams(port)
                    figures.setdefault((among, "TTFT"), []).extend(ttft)
                    figures.setdefault((among, "ITL"), []).extend(itl)
                if among:
                    stop.set()
                    crowd.join()
                    time.sleep(1)
    finally:
        server.kill()
    for what in ("TTFT", "ITL"):
        row = []
        for among in (False, True):
            values = sorted(figures[among, what])
            row += [statistics.median(values), values[int(len(values) * 0.99)]]
        print(f"{what}: median {row[0]:.2f} ms alone, {row[2]:.2f} in the crowd ({row[2] / row[0] - 1:+.1%}); "
              f"p99 {row[1]:.2f}, {row[3]:.2f} ({row[3] / row[1] - 1:+.1%})")


if __name__ == "__main__":
    main()
