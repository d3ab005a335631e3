#!/usr/bin/env python3
"""Compares `octavo tokenize` with the Python packages on random strings, for files that are not ours to keep: SentencePiece
models, tiktoken files named as OpenAI's are or qwen.tiktoken, and tokenizer.json. Ends with 1 if anything differs.
Needs `pip install sentencepiece==0.2.3 tiktoken==0.14.0 tokenizers==0.23.3`.

    compare.py build/octavo 10000 path/to/tokenizer.model path/to/qwen.tiktoken path/to/tokenizer.json
"""

import base64
import json
import random
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import random_text
from make_files import CL100K, O200K, QWEN

PATTERNS = {"cl100k_base": CL100K, "o200k_base": O200K, "o200k_harmony": O200K, "qwen": QWEN}


def sentencepiece(path):
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def expected(text, ours):
        ids = model.encode(text)
        if ours["ids_no_special"] != ids:  # a control piece's name in the text, which SentencePiece never looks for
            return {"ids_plain": ids}
        return {"ids_plain": ids, "decoded_skip_special": model.decode(ids)}

    return expected


def tiktoken(path):
    import tiktoken

    lines = [line.split() for line in path.read_text().splitlines()]
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    encoding = tiktoken.Encoding(path.stem, pat_str=PATTERNS[path.stem], mergeable_ranks=ranks, special_tokens={})
    form = "NFC" if path.stem == "qwen" else None
    return lambda text, _: {"ids_plain": encoding.encode_ordinary(unicodedata.normalize(form, text) if form else text)}


def tokenizer_json(path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))

    def expected(text, _):
        ids = tokenizer.encode(text).ids
        return {"ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}

    return expected


def differences(octavo, path, texts):
    kind = {".model": sentencepiece, ".tiktoken": tiktoken}.get(path.suffix, tokenizer_json)
    expected = kind(path)
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        given.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        command = [octavo, "tokenize", "--tokenizer", path, "--input", given, "--output", made]
        subprocess.run(command, check=True)
        found = [json.loads(line) for line in made.read_text().split("\n") if line]
    for text, ours in zip(texts, found, strict=True):
        theirs = expected(text, ours)
        if any(ours[name] != value for name, value in theirs.items()):
            yield text, ours, theirs


if __name__ == "__main__":
    octavo, count, *paths = sys.argv[1:]
    failed = False
    for path in map(Path, paths):
        different = list(differences(octavo, path, random_text.texts(random.Random(3), int(count))))
        failed |= bool(different)
        print(f"{path}: {count} strings, {len(different)} differ")
        for text, ours, theirs in different[:3]:
            print(f"  {text!r}\n    ours   {({name: ours[name] for name in theirs})}\n    theirs {theirs}")
    sys.exit(failed)
