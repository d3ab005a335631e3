"""Tokens in and out, and what llama-server's clients look for, against the real program and model."""
import json
import threading
import time

CHAT = {"messages": [{"role": "user", "content": "Tell me about the sea."}], "max_tokens": 12, "temperature": 0}


def post(server, path, body):
    status, answer = server.request(path, body)
    assert status == 200, answer
    return answer


def test_what_a_chat_renders_to_generates_the_tokens_of_the_chat(server):
    chat = post(server, "/v1/chat/completions", {**CHAT, "return_token_ids": True})
    rendered = post(server, "/v1/chat/completions/render", CHAT)
    assert rendered["token_ids"] == chat["prompt_token_ids"]
    generated = post(server, "/inference/v1/generate", rendered)
    assert generated["choices"][0]["token_ids"] == chat["choices"][0]["token_ids"]
    assert generated["usage"]["completion_tokens"] == chat["usage"]["completion_tokens"]
    status, stream = server.request("/inference/v1/generate", {**rendered, "stream": True})
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    assert status == 200 and stream.rstrip().endswith("[DONE]")
    assert sum((e["choices"][0]["token_ids"] for e in events), []) == generated["choices"][0]["token_ids"]


def test_a_rendered_completion_keeps_its_grammar(server):
    body = {"prompt": ["Yes or no? "], "max_tokens": 5, "temperature": 0, "structured_outputs": {"choice": ["yes", "no"]}}
    rendered, = post(server, "/v1/completions/render", body)
    ids = post(server, "/inference/v1/generate", rendered)["choices"][0]["token_ids"]
    assert post(server, "/detokenize", {"tokens": ids})["prompt"].removesuffix("<|im_end|>") in ("yes", "no")


def test_timings_add_up(server):
    begin = time.perf_counter()
    answer = post(server, "/v1/chat/completions", {**CHAT, "timings": True})
    wall = (time.perf_counter() - begin) * 1000
    timings = answer["timings"]
    assert timings["cache_n"] + timings["prompt_n"] == answer["usage"]["prompt_tokens"]
    assert timings["predicted_n"] == answer["usage"]["completion_tokens"]
    assert 0 < timings["prompt_ms"] + timings["predicted_ms"] <= wall


def test_props_and_template_are_the_models(server):
    props = server.request("/props")[1]
    rendered = post(server, "/apply-template", {"messages": CHAT["messages"]})["prompt"]
    assert props["model_path"] == "octavo-tiny"
    assert props["eos_token"] in rendered and "Tell me about the sea." in rendered
    assert "messages" in props["chat_template"]


def test_slots_show_what_runs_and_not_what_it_says(server):
    slow = {"prompt": "my secret", "max_tokens": 400, "ignore_eos": True}
    request = threading.Thread(target=server.request, args=("/v1/completions", slow))
    request.start()
    busy = []
    while request.is_alive() and not busy:
        status, slots = server.request("/slots")
        assert status == 200 and "secret" not in json.dumps(slots)
        busy = [slot for slot in slots if slot["is_processing"] and "next_token" in slot]
    request.join()
    assert busy and busy[0]["n_prompt_tokens"] > 0
    assert busy[0]["params"]["n_predict"] == 400 and busy[0]["params"]["ignore_eos"]
    decoded = busy[0]["next_token"][0]
    assert decoded["n_remain"] + decoded["n_decoded"] == 400
    assert len(slots) == server.request("/props")[1]["total_slots"]
