"""What flags of the server change for openai's clients, and the routes beside OpenAI's."""
import re

import openai
import pytest
from conftest import ROOT, Server

ASK = [{"role": "user", "content": "What is the capital of Japan?"}]
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def tuned():
    """A server on which every flag about answers says something else than usual."""
    with Server("--enable-force-include-usage", "--return-tokens-as-token-ids", "--trust-request-chat-template",
                "--default-chat-template-kwargs", '{"tools": ["by default"]}', "--response-role", "model",
                "--enable-tokenizer-info-endpoint", "--enable-request-id-headers", env={"VLLM_SERVER_DEV_MODE": "1"}) as server:
        yield server


def chat(server, **fields):
    fields = {"messages": ASK, "temperature": 0, "max_tokens": 30, **fields}
    return server.client.chat.completions.create(model=server.model, **fields)


def test_every_stream_tells_its_usage(tuned):
    chunks = list(tuned.client.completions.create(model=tuned.model, prompt="a", max_tokens=3, stream=True, temperature=0))
    assert [c.usage.completion_tokens for c in chunks] == [1, 2, 3, 3] and chunks[-1].choices == []
    assert list(chat(tuned, stream=True))[-1].usage.completion_tokens > 0


def test_tokens_are_ids_unless_the_request_says_otherwise(tuned):
    def tokens(**extra):
        return tuned.client.completions.create(model=tuned.model, prompt="a", max_tokens=3, logprobs=0, temperature=0,
                                               extra_body=extra).choices[0].logprobs.tokens
    assert all(t.startswith("token_id:") for t in tokens())
    assert not any(t.startswith("token_id:") for t in tokens(return_tokens_as_token_ids=False))


def test_template_variables_have_defaults(tuned):
    def shown(**extra):
        return chat(tuned, max_tokens=1, extra_body={"return_prompt_text": True, **extra}).prompt_text
    assert '"by default"' in shown()
    assert '"of the request"' in shown(chat_template_kwargs={"tools": ["of the request"]})
    assert tuned.request("/tokenize", {"messages": ASK})[1]["count"] > 60


def test_the_answers_role_is_the_servers(tuned):
    assert chat(tuned).choices[0].message.role == "model"
    assert next(iter(chat(tuned, stream=True))).choices[0].delta.role == "model"


def test_the_sdk_knows_the_requests_id(server, tuned):
    reply = chat(tuned)
    assert reply._request_id and reply.id == "chatcmpl-" + reply._request_id
    assert chat(tuned, extra_body={"request_id": "of-the-body"}).id == "chatcmpl-of-the-body"
    assert chat(tuned, extra_headers={"X-Request-Id": "mine"})._request_id == "mine"
    with pytest.raises(openai.BadRequestError) as error:
        chat(tuned, temperature=9)
    assert error.value.request_id
    assert chat(server)._request_id is None


@pytest.mark.parametrize("fields", [{"chat_template": "Q: {{ messages[0].content }} A:"},
                                    {"chat_template_kwargs": {"chat_template": "Q: {{ messages[0].content }} A:"}}],
                         ids=["by itself", "among the variables"])
def test_a_trusted_request_brings_its_own_template(tuned, fields):
    reply = chat(tuned, max_tokens=1, extra_body={"return_prompt_text": True, **fields})
    assert reply.prompt_text == f"Q: {ASK[0]['content']} A:"


@pytest.mark.parametrize("template", ["{% for", "{{ raise_exception('no') }}", "{% for i in range(10**9) %}x{% endfor %}"],
                         ids=["cut short", "raises", "endless"])
def test_a_bad_template_of_a_request_is_its_own_fault(tuned, template):
    with pytest.raises(openai.BadRequestError):
        chat(tuned, extra_body={"chat_template": template})


def test_the_tokenizers_settings_are_shown_with_the_flag_alone(server, tuned):
    status, info = tuned.request("/tokenizer_info")
    assert status == 200 and info["tokenizer_class"] and "<|im_start|>" in info["chat_template"]
    assert server.request("/tokenizer_info")[0] == 404


def test_routes_for_development_are_there_in_dev_mode_alone(server, tuned):
    assert tuned.request("/reset_prefix_cache", method="POST")[0] == 200
    assert tuned.request("/reset_prefix_cache?reset_running_requests=true", method="POST")[0] == 400
    info = tuned.request("/server_info")[1]
    assert info["model"]["max_model_len"] == 2048 and info["server"]["default_chat_template_kwargs"]
    for path, method in [("/reset_prefix_cache", "POST"), ("/abort_requests", "POST"), ("/server_info", "GET")]:
        assert server.request(path, method=method)[0] == 404


def test_a_reset_forgets_the_prefixes(tuned):
    long = [{"role": "user", "content": "Tell me about the sea and the ships on it. " * 6}]
    chat(tuned, messages=long, max_tokens=1)
    assert chat(tuned, messages=long, max_tokens=1).usage.prompt_tokens_details.cached_tokens > 0
    tuned.wait_idle()
    tuned.request("/reset_prefix_cache", method="POST")
    assert chat(tuned, messages=long, max_tokens=1).usage.prompt_tokens_details.cached_tokens == 0


@pytest.mark.parametrize("ids", [["cmpl-mine"], []], ids=["by id", "all"])
def test_requests_are_aborted_by_the_clients_id(tuned, ids):
    stream = tuned.client.completions.create(model=tuned.model, prompt="a", max_tokens=2000, stream=True,
                                             extra_body={"ignore_eos": True, "request_id": "mine"})
    events = iter(stream)
    assert next(events).id == "cmpl-mine"
    assert tuned.request("/abort_requests", {"request_ids": ["another", *ids] if ids else []}) == (200, {"status": "aborted"})
    assert [c.choices[0].finish_reason for c in events if c.choices][-1] == "abort"


def test_a_batch_of_conversations_is_one_answer(server):
    status, reply = server.request("/v1/chat/completions/batch", {
        "messages": [ASK, FRANCE, ASK], "temperature": 0, "max_tokens": 30, "request_id": "b"})
    assert status == 200 and reply["object"] == "chat.completion" and reply["id"] == "chatcmpl-b"
    assert [c["index"] for c in reply["choices"]] == [0, 1, 2]
    texts = [c["message"]["content"] for c in reply["choices"]]
    assert texts == [chat(server, messages=m).choices[0].message.content for m in (ASK, FRANCE, ASK)]
    usage = [chat(server, messages=m).usage for m in (ASK, FRANCE, ASK)]
    assert reply["usage"]["prompt_tokens"] == sum(u.prompt_tokens for u in usage)
    assert reply["usage"]["total_tokens"] == sum(u.total_tokens for u in usage)


@pytest.mark.parametrize("body,param", [
    ({"messages": [ASK], "stream": True}, "stream"), ({"messages": [ASK], "n": 2, "temperature": 1}, "n"),
    ({"messages": [ASK], "tools": [TOOL]}, "tools"), ({"messages": []}, "messages"), ({"messages": ASK}, "body.messages"),
    ({"messages": [ASK, []]}, "messages"), ({"messages": [ASK, [{"role": "user", "content": "w " * 5000}]]}, "input_tokens"),
    ({"messages": [ASK], "temperature": 9}, "temperature"), ({}, "body.messages"), ({"messages": [ASK] * 1025}, "messages"),
    ({"messages": [ASK] * 1000, "metadata": {"x": "y" * 100_000}}, "messages"),
], ids=["stream", "n", "tools", "none", "one alone", "one empty", "one too long", "bad field", "missing", "too many", "too much"])
def test_what_a_batch_cannot_have_is_named_once(server, body, param):
    status, reply = server.request("/v1/chat/completions/batch", body)
    assert status in (400, 413) and reply["error"]["param"] == param, reply
    server.wait_idle(10)


def test_sagemakers_path_takes_chats_and_completions(server):
    chatted = server.request("/invocations", {"messages": ASK, "temperature": 0, "max_tokens": 30})[1]
    assert "Tokyo" in chatted["choices"][0]["message"]["content"]
    assert server.request("/invocations", {"prompt": "a", "max_tokens": 1})[1]["object"] == "text_completion"
    status, reply = server.request("/invocations", {"input": "a"})
    assert status == 400 and "messages" in reply["error"]["message"] and "prompt" in reply["error"]["message"]


def test_tokenize_takes_what_a_chat_takes(server):
    prompt = chat(server, max_tokens=1, tools=[TOOL], extra_body={"return_token_ids": True}).prompt_token_ids
    reply = server.request("/tokenize", {"messages": ASK, "tools": [TOOL], "return_token_strs": True})[1]
    assert reply["tokens"] == prompt and reply["count"] == len(prompt) == len(reply["token_strs"])
    assert reply["max_model_len"] == 2048
    continued = server.request("/tokenize", {"messages": [*ASK, {"role": "assistant", "content": "It is"}],
                                             "add_generation_prompt": False, "continue_final_message": True})[1]["tokens"]
    assert server.request("/detokenize", {"tokens": continued})[1]["prompt"].endswith("assistant\nIt is")
    assert server.request("/tokenize", {"messages": ASK, "chat_template": "x"})[0] == 400


def docs_rows(heading):
    """The rows of the first table under a heading of docs/api.md, as lists of cells."""
    section = (ROOT / "docs" / "api.md").read_text().split(heading + "\n", 1)[1].split("\n#", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return rows[2:]


def names_in(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_the_docs_name_every_route(tuned):
    written = {name.split(" ")[-1] for row in docs_rows("## Routes") for name in names_in(row[0]) if "/" in name}
    assert written == set(tuned.request("/openapi.json")[1]["paths"])


def test_what_the_docs_call_refused_is_refused(server):
    fields = [name for row in docs_rows("### They are refused") for name in names_in(row[0])]
    assert len(fields) > 10
    for field in fields:
        for path, body in [("/v1/completions", {"prompt": "a"}), ("/v1/chat/completions", {"messages": ASK})]:
            status, reply = server.request(path, {**body, field: {"a": 1}})
            assert status == 400 and reply["error"]["param"] == field, reply


def test_a_null_is_a_field_that_is_not_given(server):
    headings = ("### They work", "### They are taken and change nothing", "### They are refused")
    fields = {name for heading in headings for row in docs_rows(heading) for name in names_in(row[0])}
    assert len(fields) > 70
    nulls = dict.fromkeys(fields - {"messages", "prompt", "max_tokens", "max_completion_tokens"})
    for path, body in [("/v1/completions", {"prompt": "a", "seed": 1}), ("/v1/chat/completions", {"messages": ASK, "seed": 1})]:
        status, reply = server.request(path, {**nulls, **body, "max_tokens": 9})
        assert status == 200, reply
        assert reply["choices"] == server.request(path, {**body, "max_tokens": 9})[1]["choices"]


def test_what_the_docs_call_harmless_changes_nothing(server):
    fields = [name for row in docs_rows("### They are taken and change nothing") for name in names_in(row[0])]
    assert len(fields) > 10
    extra = {field: {"a": 1} for field in fields}
    assert chat(server, extra_body=extra).choices[0].message == chat(server).choices[0].message
