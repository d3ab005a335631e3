#!/usr/bin/env python3
"""Writes a checkpoint of a shape in bench/shapes with random bfloat16 weights, for timing the loading of real files.

    python3 bench/make_checkpoint.py bench/shapes/llama-3.1-8b OUT    # Llama-shaped configs; needs numpy

The values repeat every 64 Mi elements. The tokenizer is the bundled model's."""
import json
import pathlib
import shutil
import sys

import numpy

source, out = map(pathlib.Path, sys.argv[1:])
config = json.loads((source / "config.json").read_text())
hidden, inter, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
head = config.get("head_dim", hidden // config["num_attention_heads"])
q, kv = head * config["num_attention_heads"], head * config["num_key_value_heads"]
shapes = {"model.embed_tokens.weight": (vocab, hidden)}
for layer in range(config["num_hidden_layers"]):
    name = f"model.layers.{layer}."
    shapes |= {name + "input_layernorm.weight": (hidden,), name + "post_attention_layernorm.weight": (hidden,),
               name + "self_attn.q_proj.weight": (q, hidden), name + "self_attn.k_proj.weight": (kv, hidden),
               name + "self_attn.v_proj.weight": (kv, hidden), name + "self_attn.o_proj.weight": (hidden, q),
               name + "mlp.gate_proj.weight": (inter, hidden), name + "mlp.up_proj.weight": (inter, hidden),
               name + "mlp.down_proj.weight": (hidden, inter)}
shapes["model.norm.weight"] = (hidden,)
if not config["tie_word_embeddings"]:
    shapes["lm_head.weight"] = (vocab, hidden)

out.mkdir(parents=True, exist_ok=True)
shutil.copy(source / "config.json", out)
tiny = pathlib.Path(__file__).parent.parent / "models/octavo-tiny"
for file in ("tokenizer.json", "tokenizer_config.json"):
    shutil.copy(tiny / file, out)
header, end = {}, 0
for name, shape in shapes.items():
    begin, end = end, end + 2 * int(numpy.prod(shape))
    header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
random = numpy.random.default_rng(1).random(1 << 26, dtype=numpy.float32) * 2e-3 - 1e-3
block = (random.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
with open(out / "model.safetensors", "wb") as file:
    file.write(len(text).to_bytes(8, "little") + text)
    for at in range(0, end, len(block)):
        file.write(block[: end - at])
