#!/usr/bin/env python3
"""Runs llama.cpp and Octavo in turns on the same weights and prints a table of ratios.

    bench/peers/llama_cpp.py --llama DIR_OF_BINARIES --octavo build/octavo \\
        --pair models/octavo-tiny tiny-bf16.gguf --pair DUMMY_1B dummy-1b-bf16.gguf --threads 1 2

DIR holds llama-bench, llama-batched-bench and llama-server, built as ../shared/peers/cpu/run.sh says; the GGUF files are
made there too. Every figure is the median of --rounds interleaved runs. Prefill: 512 tokens in, 1 out. Decode:
32 in, 32 out (1B: 16), all prompts alike for llama.cpp (-pps), prefix cache off for Octavo. Server: 64 streams of
32 in / 64 out (1B: 16) through `octavo bench serve` for both. Ready: exec to the first 200 of /health. VmHWM:
Octavo's peak resident memory over the server run, over the size of its weights.
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path


def run(command, cpus):
    done = subprocess.run(["taskset", "-c", cpus, *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout


def llama_prefill(a, model, threads, cpus):
    out = run([a.llama / "llama-bench", "-m", model, "-t", threads, "-p", 512, "-n", 0, "-r", 1, "-o", "json"], cpus)
    return json.loads(out)[0]["samples_ts"][0]


def llama_decode(a, model, threads, batches, tokens, cpus):
    out = run([a.llama / "llama-batched-bench", "-m", model, "-t", threads, "-tb", threads, "-c", 8192, "-b", 2048, "-ub", 512,
               "-npp", 32, "-ntg", tokens, "-npl", ",".join(map(str, batches)), "-pps", "--output-format", "jsonl"], cpus)
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {row["pl"]: row["speed_tg"] for row in rows}


def octavo_latency(a, model, threads, batch, input_len, output_len, cpus):
    with tempfile.NamedTemporaryFile() as out:
        run([a.octavo, "bench", "latency", model, "--threads", threads, "--batch-size", batch, "--input-len", input_len,
             "--output-len", output_len, "--num-iters-warmup", 1, "--num-iters", 3, "--temperature", 0, "--output-json", out.name], cpus)
        return json.loads(Path(out.name).read_text())


class Server:
    def __init__(self, command, cpus):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        start = time.perf_counter()
        self.process = subprocess.Popen(["taskset", "-c", cpus, *map(str, command), "--port", str(self.port)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as reply:
                    if reply.status == 200:
                        break
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"server ended: {command}")
                time.sleep(0.001)
        self.ready = time.perf_counter() - start

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def peak_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024

    def load(self, a, model_name, streams, tokens, cpus):
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            run([a.octavo, "bench", "serve", "--base-url", f"http://127.0.0.1:{self.port}", "--model", model_name, "--prompt-ids",
                 "--random-input-len", 32, "--random-output-len", tokens, "--num-prompts", 2 * streams, "--max-concurrency", streams,
                 "--ignore-eos", "--temperature", 0, "--save-result", "--result-filename", out.name], cpus)
            return json.loads(Path(out.name).read_text())["output_throughput"]


def measure(a, octavo_model, gguf, threads, rows):
    big = gguf.stat().st_size > 2e8
    tokens = 16 if big else 32
    server_tokens = 16 if big else 64
    cpus = ",".join(str(c) for c in sorted(os.sched_getaffinity(0))[:max(threads, 1)])
    every = ",".join(str(c) for c in sorted(os.sched_getaffinity(0))[:a.server_cpus])
    name = gguf.stem

    def add(what, peer, ours):
        rows.setdefault((name, threads, what), []).append((peer, ours))
        print(f"  {name} {threads} {what}: {peer:.4g} {ours:.4g}", file=sys.stderr, flush=True)

    for _ in range(a.rounds):
        if "prefill" in a.only:
            add("prefill 512, tok/s", llama_prefill(a, gguf, threads, cpus),
                octavo_latency(a, octavo_model, threads, 1, 512, 1, cpus)["prefill_tokens_per_second"])
        if "decode" in a.only:
            peer = llama_decode(a, gguf, threads, a.batches, tokens, cpus)
            for batch in a.batches:
                ours = octavo_latency(a, octavo_model, threads, batch, 32, tokens, cpus)["decode_tokens_per_second"]
                add(f"decode {batch}, tok/s", peer[batch], ours)
        llama = [a.llama / "llama-server", "-m", gguf, "-np", 64, "-c", 16384, "-b", 2048, "-ub", 512, "-t", threads, "-tb", threads, "--no-ui"]
        ours = [a.octavo, "serve", octavo_model, "--threads", threads, "--max-num-seqs", 64, "--host", "127.0.0.1", "--served-model-name", "m",
                "--kv-cache-memory-bytes", "512M"]
        if "ready" in a.only:
            with Server(llama, every) as s:
                peer_ready = s.ready
            with Server(ours, every) as s:
                add("ready, s", peer_ready, s.ready)
        if "server" in a.only:
            with Server(llama, every) as s:
                peer_rate = s.load(a, "m", 64, server_tokens, every)
            with Server(ours, every) as s:
                add("server 64, tok/s", peer_rate, s.load(a, "m", 64, server_tokens, every))
                add("VmHWM, MiB", float("nan"), s.peak_mib())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--llama", type=Path, required=True)
    p.add_argument("--octavo", type=Path, default=Path("build/octavo"))
    p.add_argument("--pair", nargs=2, action="append", required=True, metavar=("MODEL_DIR", "GGUF"))
    p.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    p.add_argument("--batches", type=int, nargs="*", default=[1, 4, 16, 64])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--server-cpus", type=int, default=2, help="cores that server and client share")
    p.add_argument("--only", nargs="*", default=["prefill", "decode", "server", "ready"])
    p.add_argument("--json", type=Path)
    a = p.parse_args()
    rows = {}
    for model, gguf in a.pair:
        for threads in a.threads:
            measure(a, model, Path(gguf), threads, rows)
    print(f"{'model':20} {'threads':>7} {'measure':22} {'llama.cpp':>10} {'octavo':>10} {'ratio':>7}")
    for (name, threads, what), pairs in rows.items():
        peer, ours = (statistics.median(x) for x in zip(*pairs))
        print(f"{name:20} {threads:7} {what:22} {peer:10.4g} {ours:10.4g} {ours / peer:7.2f}")
    if a.json:
        a.json.write_text(json.dumps([[*k, v] for k, v in rows.items()]))


if __name__ == "__main__":
    main()
