"""Bad input of every kind gets a clear message and the right status or exit code, and costs nothing else."""
import json
import shutil
import socket
import struct
import subprocess

import pytest
from conftest import BIN, MODEL, Server

BAD_BODIES = [
    ("prompt too long", {"prompt": [5] * 3000, "max_tokens": 5}, 400, "maximum context length is 2048 tokens"),
    ("prompt and answer too long", {"prompt": [5] * 2000, "max_tokens": 100}, 400, "you requested 100 output tokens"),
    ("empty prompt", {"prompt": ""}, 400, "empty"),
    ("empty list", {"prompt": []}, 400, ""),
    ("no prompt", {}, 400, "prompt"),
    ("id out of vocabulary", {"prompt": [999999]}, 400, "out of vocabulary"),
    ("negative id", {"prompt": [-1]}, 400, ""),
    ("prompt of a wrong type", {"prompt": {"a": 1}}, 400, "prompt"),
    ("mixed prompt", {"prompt": ["a", 1]}, 400, "prompt"),
    ("temperature of a wrong type", {"prompt": "a", "temperature": "hot"}, 400, "temperature"),
    ("temperature out of range", {"prompt": "a", "temperature": 3}, 400, "temperature"),
    ("top_p of zero", {"prompt": "a", "top_p": 0}, 400, "top_p"),
    ("max_tokens of zero", {"prompt": "a", "max_tokens": 0}, 400, "max_tokens"),
    ("fractional max_tokens", {"prompt": "a", "max_tokens": 1.5}, 400, "max_tokens"),
    ("huge max_tokens", {"prompt": "a", "max_tokens": 10**30}, 400, "max_tokens"),
    ("n and greedy", {"prompt": "a", "n": 2, "temperature": 0}, 400, "n must be 1"),
    ("too many logprobs", {"prompt": "a", "logprobs": 100}, 400, "greater than max allowed"),
    ("five stop strings", {"prompt": "a", "stop": ["a", "b", "c", "d", "e"]}, 400, "stop"),
    ("empty stop string", {"prompt": "a", "stop": [""]}, 400, "stop"),
    ("stream options without stream", {"prompt": "a", "stream_options": {"include_usage": True}}, 400, "stream"),
    ("beam search", {"prompt": "a", "use_beam_search": True}, 400, "beam"),
    ("suffix", {"prompt": "a", "suffix": "b"}, 400, "suffix"),
    ("unknown model", {"prompt": "a", "model": "gpt-99"}, 404, "does not exist"),
    ("logit bias out of vocabulary", {"prompt": "a", "logit_bias": {"99999": 1}}, 400, "logit_bias"),
]


@pytest.mark.parametrize("body,status,words", [b[1:] for b in BAD_BODIES], ids=[b[0] for b in BAD_BODIES])
def test_bad_bodies_are_refused_by_name(server, body, status, words):
    got, reply = server.request("/v1/completions", body)
    assert got == status, reply
    assert set(reply["error"]) == {"message", "type", "param", "code"} and reply["error"]["code"] == status
    assert words in reply["error"]["message"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[1, 2]", b'"text"', b"null", b"{\"prompt\": \"\xff\"}", b"[" * 100000,
                                 b'{"prompt":' * 5000, b'{"prompt": "a", "temperature": 1e999}', b"\x00\x01\x02"],
                         ids=["empty", "cut short", "a list", "a string", "null", "invalid UTF-8", "deep lists", "deep objects",
                              "an infinite number", "binary"])
def test_bodies_that_are_no_request_are_a_400(server, raw):
    status, reply = server.request("/v1/completions", raw=raw)
    assert status == 400 and reply["error"]["message"], reply


def test_a_body_of_100_megabytes_is_refused_without_being_read(server):
    before = server.memory_kib()
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n")
        s.settimeout(10)
        assert b" 413 " in s.recv(4096).split(b"\r\n")[0] + b" "
    assert server.memory_kib() - before < 50 * 1024


def test_unknown_routes_and_methods_get_the_error_object(server):
    status, reply = server.request("/v1/nothing")
    assert status == 404 and reply["error"]["message"]
    status, reply = server.request("/v1/completions", method="GET")
    assert status == 405 and reply["error"]["message"]


def test_messages_of_wrong_shapes_are_refused(server):
    for messages in [None, [], "hi", [1], [{"content": "no role"}], [{"role": 3, "content": "x"}], [{"role": "user", "content": 5}]]:
        status, reply = server.request("/v1/chat/completions", {"messages": messages})
        assert status == 400 and reply["error"]["message"], (messages, reply)


def test_the_api_key_guards_v1_and_nothing_else():
    with Server("--api-key", "secret") as s:
        assert s.request("/v1/models")[0] == 401
        assert s.request("/v1/models", headers={"Authorization": "Bearer wrong"})[0] == 401
        assert s.request("/v1/models", headers={"Authorization": "Bearer secret"})[0] == 200
        assert s.request("/health")[0] == 200


def run(*args, timeout=60):
    done = subprocess.run([str(BIN), *map(str, args)], capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stderr + done.stdout


@pytest.fixture
def broken(tmp_path):
    """A copy of the bundled model to break; the weights in one folder of their own."""
    copy = tmp_path / "model"
    shutil.copytree(MODEL, copy)
    return copy


def refused(directory, words, *args):
    code, text = run("serve", directory, "--port", 1, *args)
    assert code == 1, text
    assert words in text, text
    assert "CHECK failed" not in text


def test_a_truncated_weight_file_is_named(broken):
    file = broken / "model-00002-of-00003.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    refused(broken, "model-00002-of-00003.safetensors")


def test_a_header_that_lies_about_its_length_is_refused(broken):
    file = broken / "model-00001-of-00003.safetensors"
    data = file.read_bytes()
    file.write_bytes(struct.pack("<Q", 1 << 60) + data[8:])
    refused(broken, "model-00001-of-00003.safetensors")


def edit_header(file, change):
    data = file.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length:])


def test_a_tensor_of_the_wrong_shape_is_named_with_both_shapes(broken):
    def change(header):
        name = next(k for k in header if k.endswith("q_proj.weight"))
        header[name]["shape"] = header[name]["shape"][::-1][:1] + [header[name]["shape"][0] * header[name]["shape"][1] // header[name]["shape"][1]]
        header[name]["shape"] = [192, 768]
    edit_header(broken / "model-00001-of-00003.safetensors", change)
    refused(broken, "q_proj.weight")


def test_a_missing_tensor_is_named(broken):
    index = broken / "model.safetensors.index.json"
    edit_header(broken / "model-00001-of-00003.safetensors", lambda h: h.update(
        {k + ".renamed": h.pop(k) for k in [n for n in h if n.endswith("layers.0.input_layernorm.weight")]}))
    assert index.exists()
    refused(broken, "layers.0.input_layernorm.weight")


def test_nan_weights_are_named(broken):
    file = broken / "model-00001-of-00003.safetensors"
    data = bytearray(file.read_bytes())
    data[-2:] = b"\xc0\x7f"
    file.write_bytes(data)
    refused(broken, "not finite")


def test_an_unknown_architecture_is_named(broken):
    config = json.loads((broken / "config.json").read_text())
    config["architectures"] = ["FancyForCausalLM"]
    (broken / "config.json").write_text(json.dumps(config))
    refused(broken, "FancyForCausalLM")


def test_a_rope_type_that_we_lack_is_named(broken):
    config = json.loads((broken / "config.json").read_text())
    config["rope_scaling"] = {"rope_type": "yarn", "factor": 4.0}
    (broken / "config.json").write_text(json.dumps(config))
    refused(broken, "yarn")


def test_a_missing_shard_is_named(broken):
    (broken / "model-00003-of-00003.safetensors").unlink()
    refused(broken, "model-00003-of-00003.safetensors")


def test_a_directory_that_is_no_model_says_so(tmp_path):
    refused(tmp_path, "config.json")
    refused(tmp_path / "nothing-here", "nothing-here")


@pytest.mark.parametrize("name", ["model.gguf", "config.json"])
def test_a_file_in_place_of_a_folder_says_what_to_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"GGUF")
    refused(tmp_path / name, "name the folder with config.json and *.safetensors")
    assert ("GGUF is not supported" in run("serve", tmp_path / name)[1]) == name.endswith("gguf")


def test_a_port_in_use_is_one_clear_line_before_the_model_is_loaded(server):
    code, text = run("serve", MODEL, "--host", "127.0.0.1", "--port", server.port)
    assert code == 1 and str(server.port) in text and "in use" in text.lower()
    assert len(text.splitlines()) == 1


def test_a_missing_file_is_told_with_its_flag():
    for flag in ("--chat-template", "--tokenizer", "--api-key-file", "--ssl-certfile"):
        code, text = run("serve", MODEL, "--port", 0, flag, "no-such-file")
        assert code == 1 and flag in text and "no-such-file" in text, text


def test_no_memory_for_the_kv_cache_is_one_clear_line():
    code, text = run("serve", MODEL, "--port", 1, "--kv-cache-memory-bytes", 1000)
    assert code == 1 and "KV cache" in text


def test_a_context_that_the_cache_cannot_hold_is_lowered_or_refused():
    code, text = run("serve", MODEL, "--port", 1, "--kv-cache-memory-bytes", 2_000_000, "--max-model-len", 2048)
    assert code == 1 and "--max-model-len" in text
    with Server("--kv-cache-memory-bytes", 2_000_000) as s:
        assert s.request("/v1/models")[1]["data"][0]["max_model_len"] < 2048
        assert "lowered" in s.read_log()


def test_a_context_beyond_the_models_own_is_refused():
    code, text = run("serve", MODEL, "--port", 0, "--max-model-len", 2049)
    assert code == 1 and "2049 is greater than the model's context of 2048 tokens" in text
    with Server("--max-model-len", 2048) as s:
        assert s.request("/v1/models")[1]["data"][0]["max_model_len"] == 2048


def test_unknown_flags_suggest_the_nearest_one():
    code, text = run("serve", MODEL, "--max-modle-len", 5)
    assert code == 2 and "--max-model-len" in text


def test_known_vllm_flags_that_we_lack_are_refused_by_name():
    code, text = run("serve", MODEL, "--enable-lora")
    assert code == 2 and "--enable-lora" in text
