#!/usr/bin/env python3
"""Makes the golden models of tests/parity: small random models of each architecture and rope kind,
each with the logits that transformers computes for them in float32 on the CPU.

    python3 tests/data/goldens/make_goldens.py --out DIR      # needs torch 2.11, transformers 5.17

writes DIR/goldens.tar.xz; unpacked, that is one folder a model: config.json, model.safetensors,
golden.json (the tokens) and logits.f32 (little-endian float32 [tokens, vocab]: row i is what the
model says after token i). The weights are far larger than a training start's, so that no logit is
flat and every norm and bias matters.
"""

import argparse
import json
import pathlib
import sys
import tarfile
import tempfile
import traceback

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

VOCAB = 128
PROMPT_TOKENS = 40
DECODE_TOKENS = 8
DEFAULT_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
COMMON = dict(
    vocab_size=VOCAB,
    num_hidden_layers=2,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)


def specs():
    """(name, architecture, config, dtype of the checkpoint, write config.json with transformers 4's keys)"""
    return [
        # Multi-query, head_dim derived, tied head.
        ("llama", "LlamaForCausalLM",
         LlamaConfig(**COMMON, hidden_size=48, intermediate_size=64, num_attention_heads=3,
                     num_key_value_heads=1, rms_norm_eps=1e-6, rope_parameters=dict(DEFAULT_ROPE),
                     tie_word_embeddings=True),
         torch.bfloat16, False),
        # Grouped-query, head_dim given, biases everywhere, untied head, llama3 rope in the old keys.
        ("llama3", "LlamaForCausalLM",
         LlamaConfig(**COMMON, hidden_size=32, intermediate_size=48, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, attention_bias=True,
                     mlp_bias=True, rope_parameters=dict(LLAMA3_ROPE), tie_word_embeddings=False),
         torch.bfloat16, True),
        # A sliding window shorter than the prompt.
        ("mistral", "MistralForCausalLM",
         MistralConfig(**COMMON, hidden_size=32, intermediate_size=48, num_attention_heads=2,
                       num_key_value_heads=1, head_dim=16, sliding_window=12, rms_norm_eps=1e-5,
                       rope_parameters=dict(DEFAULT_ROPE), tie_word_embeddings=False),
         torch.float32, False),
        # Biases on q, k and v only.
        ("qwen2", "Qwen2ForCausalLM",
         Qwen2Config(**COMMON, hidden_size=32, intermediate_size=48, num_attention_heads=2,
                     num_key_value_heads=1, use_sliding_window=False, rms_norm_eps=1e-6,
                     rope_parameters=dict(DEFAULT_ROPE), tie_word_embeddings=False),
         torch.float16, False),
        # RMS norm over each head of q and k; heads * head_dim != hidden.
        ("qwen3", "Qwen3ForCausalLM",
         Qwen3Config(**COMMON, hidden_size=32, intermediate_size=48, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=16, use_sliding_window=False,
                     rms_norm_eps=1e-6, rope_parameters=dict(DEFAULT_ROPE),
                     tie_word_embeddings=True),
         torch.bfloat16, False),
        # Learned positions, LayerNorm, Conv1D weights.
        ("gpt2", "GPT2LMHeadModel",
         GPT2Config(vocab_size=VOCAB, n_positions=64, n_embd=32, n_layer=2, n_head=2,
                    layer_norm_epsilon=1e-5, activation_function="gelu_new", bos_token_id=1,
                    eos_token_id=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),
         torch.bfloat16, False),
    ]


def is_norm(name):
    return "norm" in name or ".ln_" in name


@torch.no_grad()
def randomise(model, dtype, generator):
    """Fills every parameter with values that `dtype` holds exactly."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator, dtype=torch.float32)
        if p.dim() == 1 and is_norm(name) and name.endswith("weight"):
            value = 0.5 + torch.rand(p.shape, generator=generator, dtype=torch.float32)
        elif p.dim() == 1:
            value = 0.3 * noise
        elif "embed_tokens" in name or "wte" in name:
            value = noise
        elif "wpe" in name:
            value = 0.5 * noise
        else:
            value = 0.25 * noise
        p.copy_(value.to(dtype).to(torch.float32))


def old_style(config):
    """The same config.json as transformers 4 wrote it."""
    rope = dict(config.pop("rope_parameters"))
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope if rope.get("rope_type", "default") != "default" else None
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.46.0"
    return config


@torch.no_grad()
def logits_of(model, tokens):
    ids = torch.tensor([tokens], dtype=torch.long)
    return model(input_ids=ids, use_cache=False).logits[0].to(torch.float32).contiguous()


@torch.no_grad()
def cached_logits(model, tokens):
    """Prefill and then one token at a time through transformers' own KV cache: a check of the whole."""
    out = model(input_ids=torch.tensor([tokens[:PROMPT_TOKENS]]), use_cache=True)
    rows = [out.logits[0]]
    cache = out.past_key_values
    for token in tokens[PROMPT_TOKENS:]:
        out = model(input_ids=torch.tensor([[token]]), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        rows.append(out.logits[0])
    return torch.cat(rows).to(torch.float32)


def difference(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def make(folder, seed, name, architecture, config, dtype, old_keys):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    config.architectures = [architecture]
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model = model.to(torch.float32).eval()
    if type(model).__name__ != architecture:
        raise RuntimeError(f"{name}: got a {type(model).__name__}")
    randomise(model, dtype, generator)

    folder.mkdir(parents=True)
    # named_parameters() lists a tied head once, under the embedding's name, and no buffers.
    tensors = {n: p.detach().to(dtype).contiguous().clone() for n, p in model.named_parameters()}
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    written = json.loads(model.config.to_json_string(use_diff=True))
    written["architectures"] = [architecture]
    written["dtype"] = str(dtype).replace("torch.", "")
    written.pop("torch_dtype", None)
    if old_keys:
        written = old_style(written)
    (folder / "config.json").write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")

    count = PROMPT_TOKENS + DECODE_TOKENS
    tokens = torch.randint(3, VOCAB, (count,), generator=generator).tolist()
    logits = logits_of(model, tokens)
    if tuple(logits.shape) != (count, VOCAB) or not torch.isfinite(logits).all():
        raise RuntimeError(f"{name}: bad logits {tuple(logits.shape)}")
    (folder / "logits.f32").write_bytes(logits.numpy().astype("<f4").tobytes())
    golden = {
        "architecture": architecture,
        "tokens": tokens,
        "num_prompt": PROMPT_TOKENS,
        "vocab_size": VOCAB,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")

    parameters = sum(t.numel() for t in tensors.values())
    print(f"{name}: {architecture} {parameters} parameters {dtype}, "
          f"logits std {logits.std().item():.3f} max {logits.abs().max().item():.3f}")
    try:
        print(f"  with the KV cache: differs by {difference(cached_logits(model, tokens), logits):.2e}")
        again = AutoModelForCausalLM.from_pretrained(
            str(folder), attn_implementation="eager", dtype=torch.float32).eval()
        print(f"  read back from the files: differs by {difference(logits_of(again, tokens), logits):.2e}")
    except Exception:  # the checks inform the person who runs this; the goldens stand without them
        traceback.print_exc()
    print(f"  config: {json.dumps(written, sort_keys=True)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=pathlib.Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    failed = []
    with tempfile.TemporaryDirectory() as work:
        for i, (name, *spec) in enumerate(specs()):
            try:
                make(pathlib.Path(work) / name, 1000 + i, name, *spec)
            except Exception:
                traceback.print_exc()
                failed.append(name)
        archive = out / "goldens.tar.xz"
        with tarfile.open(archive, "w:xz") as tar:
            for path in sorted(pathlib.Path(work).rglob("*")):
                if path.is_file():
                    tar.add(path, arcname=str(path.relative_to(work)))
    print(f"transformers {transformers.__version__}, torch {torch.__version__}: "
          f"{archive.name} {archive.stat().st_size} bytes, failed: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
