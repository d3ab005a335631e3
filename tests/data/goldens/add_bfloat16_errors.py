#!/usr/bin/env python3
"""Adds to each golden model's golden.json "bfloat16_error": how far transformers' own bfloat16 run is
from the float32 logits, |a - b| / |b| as vectors. A GPU backend in bfloat16 has to be no further.

    python3 tests/data/goldens/add_bfloat16_errors.py [--out FILE]   # needs torch, transformers, a GPU

With --out, writes {model: error} there and leaves golden.json alone."""
import argparse
import json
import pathlib

import numpy
import torch
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--out")
options = parser.parse_args()
errors = {}
for folder in sorted(p.parent for p in pathlib.Path(__file__).parent.glob("*/golden.json")):
    golden = json.loads((folder / "golden.json").read_text())
    tokens = torch.tensor([golden["tokens"]], device="cuda")
    exact = numpy.fromfile(folder / "logits.f32", dtype="<f4").reshape(len(golden["tokens"]), -1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager")
    model = model.to("cuda").eval()
    with torch.no_grad():
        logits = model(tokens).logits[0].float().cpu().numpy()
    errors[folder.name] = float(numpy.linalg.norm(logits - exact) / numpy.linalg.norm(exact))
    if not options.out:
        golden["bfloat16_error"] = errors[folder.name]
        (folder / "golden.json").write_text(json.dumps(golden) + "\n")
print(json.dumps(errors))
if options.out:
    pathlib.Path(options.out).write_text(json.dumps(errors))
