#!/usr/bin/env python3
"""What running streams notice of prompts of a megabyte, which others send one after the other.

    bench/long_prompts.py --server build/octavo

4 streams of octavo-tiny are timed, alone and while another process sends prompts of 1 MB of words of random letters, of
which the server encodes all and keeps the last 64 tokens. Rounds take turns. ITL: between two events of a stream.
"""
import argparse
import http.client
import json
import multiprocessing
import random
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from crowd import Client, Crowd, http_post  # noqa: E402

STREAMS, TOKENS = 4, 256


def send_long_prompts(port, stop, done):
    rng = random.Random(1)
    words = ("".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(1 << 18))
    prompt = " ".join(words)[:1 << 20]
    body = json.dumps({"prompt": prompt, "truncate_prompt_tokens": 64, "max_tokens": 1})
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while not stop.is_set():
        begin = time.perf_counter()
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        done.put(time.perf_counter() - begin)


def timed_streams(port):
    request = http_post("/v1/completions", {"prompt": "Once upon a time", "max_tokens": TOKENS, "ignore_eos": True,
                                            "stream": True})
    clients = [Client(request, timed=True) for _ in range(STREAMS)]
    with Crowd(port, clients) as crowd:
        if not crowd.run_until(lambda: all(c.ended for c in clients), 60, every=0.05):
            sys.exit("a stream did not end")
    return [(b - a) * 1e3 for c in clients for a, b in zip(c.times, c.times[1:])]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--server", required=True)
    p.add_argument("--rounds", type=int, default=7)
    a = p.parse_args()
    server = subprocess.Popen([a.server, "serve", "--port", "0", "--log-level", "warning"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    port = next(int(found[1]) for found in (re.search(r"http://[^/]*:(\d+)", line) for line in server.stdout) if found)
    figures = {False: [], True: []}
    done = multiprocessing.Queue()
    try:
        timed_streams(port)
        for _ in range(a.rounds):
            for beside in (False, True):
                stop = multiprocessing.Event()
                sender = multiprocessing.Process(target=send_long_prompts, args=(port, stop, done))
                if beside:
                    sender.start()
                    time.sleep(1)
                for _ in range(3):
                    figures[beside] += timed_streams(port)
                if beside:
                    stop.set()
                    sender.join()
    finally:
        server.kill()
    seconds = [done.get() for _ in range(done.qsize())]
    for beside, name in ((False, "alone"), (True, "beside prompts of 1 MB")):
        itl = sorted(figures[beside])
        print(f"{name}: ITL median {statistics.median(itl):.2f} ms, p99 {itl[int(len(itl) * 0.99)]:.2f}, most {itl[-1]:.2f}")
    print(f"{len(seconds)} long prompts, median {statistics.median(seconds) * 1e3:.0f} ms each")


if __name__ == "__main__":
    main()
