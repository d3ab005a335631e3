#!/usr/bin/env python3
"""Encoding speed of Octavo beside Hugging Face's `tokenizers`, one thread each, in turns.

    pip install tokenizers==0.23.3
    bench/peers/tokenizers.py --bench build/bench/bench_tokenize ../shared/data/tokenizers/{gpt2,qwen2,llama2,mistral}

10 MB of each text, cut into documents of about 10 KB, which is what a prompt looks like:
  english   public-domain books, as they are (../shared/corpus.tar.xz)
  code      the Python sources of the standard library that runs this script, in order of their names
  chinese   made: a chain over pairs of characters, learnt from the Chinese texts in ../shared/seeds, so the
            frequencies of characters and pairs are real and the sentences are not (the lengths between two
            punctuation marks come out of the same chain)
The peer encodes with encode_batch_fast, its fastest call (no offsets), on all documents at once. Every figure is the
median of --rounds rounds; each round is one process of ours and one pass of theirs. The numbers of tokens must agree.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
sys.path.pop(0)  # this file has the name of the package
from tokenizers import Tokenizer  # noqa: E402

DOCUMENT = 10_000  # bytes


def english(shared):
    with tarfile.open(shared / "corpus.tar.xz") as tar:
        for member in tar:
            if "/books/" in member.name and member.isfile():
                yield tar.extractfile(member).read().decode()


def code(_):
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        text = path.read_bytes().decode(errors="replace")
        if path.stat().st_size > 500:
            yield text


def chinese(shared):
    seed = "\n".join(path.read_text() for path in sorted((shared / "seeds").iterdir()))
    followers = {}
    for a, b, c in zip(seed, seed[1:], seed[2:]):
        followers.setdefault(a + b, []).append(c)
    source, pair = random.Random(1), seed[:2]
    while True:
        text = [pair]
        for _ in range(4000):
            after = followers.get(pair) or [source.choice(seed)]
            text.append(source.choice(after))
            pair = pair[1] + text[-1]
        yield "".join(text)


def documents(texts, megabytes):
    out, size = [], 0
    for text in texts:
        text = text.replace("\0", "")
        while text and size < megabytes * 1e6:
            length = DOCUMENT
            while len(text[:length].encode()) > DOCUMENT * 1.2:
                length //= 2
            out.append(text[:length])
            size += len(out[-1].encode())
            text = text[length:]
        if size >= megabytes * 1e6:
            break
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizers", nargs="+", type=Path, help="directories with a tokenizer.json")
    parser.add_argument("--bench", type=Path, required=True, help="the program bench_tokenize")
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "../shared")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=10)
    a = parser.parse_args()
    texts = {make.__name__: documents(make(a.shared), a.megabytes) for make in (english, chinese, code)}
    print(f"{'tokenizer':12} {'text':8} {'tokens':>9} {'octavo MB/s':>12} {'tokenizers MB/s':>16} {'ratio':>6}")
    for directory in a.tokenizers:
        peer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        for name, docs in texts.items():
            with tempfile.NamedTemporaryFile() as file:
                for doc in docs:
                    file.write(doc.encode() + b"\0")
                file.flush()
                ours, theirs = [], []
                for _ in range(a.rounds):
                    done = subprocess.run([a.bench, directory, file.name, "1"], capture_output=True, text=True)
                    if done.returncode:
                        sys.exit(done.stderr)
                    result = json.loads(done.stdout)
                    ours += result["seconds"]
                    start = time.perf_counter()
                    encoded = peer.encode_batch_fast(docs, add_special_tokens=False)
                    theirs.append(time.perf_counter() - start)
                    tokens = sum(len(e) for e in encoded)
            if tokens != result["tokens"]:
                sys.exit(f"{directory.name}, {name}: {result['tokens']} tokens, theirs {tokens}")
            fast, slow = (result["bytes"] / 1e6 / statistics.median(x) for x in (ours, theirs))
            print(f"{directory.name:12} {name:8} {tokens:9} {fast:12.1f} {slow:16.1f} {fast / slow:6.1f}", flush=True)


if __name__ == "__main__":
    main()
