"""The official openai client against the real program."""
import openai
import pytest

CAPITAL = [{"role": "user", "content": "What is the capital of Japan?"}]


def test_models_list_and_retrieve(server):
    models = server.client.models.list().data
    assert len(models) == 1 and models[0].object == "model"
    assert server.client.models.retrieve(models[0].id).id == models[0].id
    with pytest.raises(openai.NotFoundError):
        server.client.models.retrieve("no-such-model")


def test_chat_answers(server):
    reply = server.client.chat.completions.create(model=server.model, messages=CAPITAL, temperature=0)
    assert "Tokyo" in reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    assert reply.choices[0].message.role == "assistant"
    assert reply.usage.prompt_tokens == 15
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_chat_stream_joins_to_the_whole_answer_one_event_per_token(server):
    whole = server.client.chat.completions.create(model=server.model, messages=CAPITAL, temperature=0)
    stream = server.client.chat.completions.create(model=server.model, messages=CAPITAL, temperature=0, stream=True,
                                                   stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert len({c.id for c in chunks}) == 1


def test_a_completion_stream_has_one_event_per_token(server):
    stream = server.client.completions.create(model=server.model, prompt="Once upon a time", max_tokens=20, temperature=0,
                                              stream=True, extra_body={"ignore_eos": True})
    assert len([c for c in stream if c.choices]) == 20


def test_max_tokens_ends_with_length(server):
    reply = server.client.completions.create(model=server.model, prompt="Once upon a time", max_tokens=5)
    assert reply.choices[0].finish_reason == "length" and reply.usage.completion_tokens == 5


def test_completions_default_to_sixteen_tokens(server):
    reply = server.client.completions.create(model=server.model, prompt="Once upon a time", temperature=0,
                                             extra_body={"ignore_eos": True})
    assert reply.usage.completion_tokens == 16


def test_several_prompts_and_several_answers_are_indexed(server):
    reply = server.client.completions.create(model=server.model, prompt=["One", "Two"], n=3, max_tokens=4, seed=1)
    assert [c.index for c in reply.choices] == list(range(6))


def test_a_seed_repeats_and_n_answers_differ(server):
    def ask(**extra):
        reply = server.client.completions.create(model=server.model, prompt="Once upon a time", max_tokens=24,
                                                 temperature=1.5, **extra)
        return [c.text for c in reply.choices]
    assert ask(seed=5) == ask(seed=5)
    assert ask(seed=5) != ask(seed=6)
    assert len(set(ask(seed=5, n=4))) > 1
    assert ask(seed=5, n=4)[0] == ask(seed=5)[0]


def test_stop_strings_end_the_text_before_them(server):
    whole = server.client.completions.create(model=server.model, prompt="Once upon a time", max_tokens=40, temperature=0,
                                             extra_body={"ignore_eos": True}).choices[0].text
    stop = whole[20:24]
    reply = server.client.completions.create(model=server.model, prompt="Once upon a time", max_tokens=40, temperature=0,
                                             stop=[stop], extra_body={"ignore_eos": True}).choices[0]
    assert reply.text == whole[:whole.index(stop)] and reply.finish_reason == "stop"
    assert reply.stop_reason == stop
    stream = server.client.completions.create(model=server.model, prompt="Once upon a time", max_tokens=40, temperature=0,
                                              stop=[stop], stream=True, extra_body={"ignore_eos": True})
    assert "".join(c.choices[0].text for c in stream if c.choices) == reply.text
    reply = server.client.completions.create(model=server.model, prompt="Once upon a time", max_tokens=40, temperature=0,
                                             stop=[stop], extra_body={"ignore_eos": True, "include_stop_str_in_output": True})
    assert reply.choices[0].text == whole[:whole.index(stop)] + stop


def test_stop_token_ids_are_reported(server):
    reply = server.client.completions.create(model=server.model, prompt="The capital of France is", max_tokens=8,
                                             temperature=0, extra_body={"stop_token_ids": [13]})
    assert reply.choices[0].finish_reason == "stop" and reply.choices[0].stop_reason == 13


def test_logprobs_in_both_dialects(server):
    reply = server.client.completions.create(model=server.model, prompt="The capital of France is", max_tokens=2,
                                             temperature=0, logprobs=2).choices[0]
    assert len(reply.logprobs.tokens) == 2 and len(reply.logprobs.top_logprobs[0]) == 2
    assert "".join(reply.logprobs.tokens) == reply.text
    reply = server.client.chat.completions.create(model=server.model, messages=CAPITAL, max_tokens=3, temperature=0,
                                                  logprobs=True, top_logprobs=4).choices[0]
    assert len(reply.logprobs.content) == 3
    first = reply.logprobs.content[0]
    assert len(first.top_logprobs) == 4 and first.top_logprobs[0].token == first.token
    assert bytes(first.bytes).decode() == first.token


def test_echo_gives_the_prompt_back(server):
    reply = server.client.completions.create(model=server.model, prompt="The capital of France is", max_tokens=2,
                                             temperature=0, echo=True)
    assert reply.choices[0].text.startswith("The capital of France is")


def test_prompt_logprobs_have_an_entry_for_every_prompt_token_but_the_first(server):
    status, reply = server.request("/v1/completions", {"prompt": [311, 592, 292, 4069, 319], "max_tokens": 1,
                                                       "temperature": 0, "prompt_logprobs": 1})
    entries = reply["choices"][0]["prompt_logprobs"]
    assert status == 200 and len(entries) == 5 and entries[0] is None
    assert str(592) in entries[1]


def test_sampling_parameters_act(server):
    def ask(**extra):
        return server.client.completions.create(model=server.model, prompt="The capital of France is", max_tokens=6,
                                                temperature=0, extra_body={"return_token_ids": True, "ignore_eos": True, **extra}
                                                ).choices[0].model_dump()["token_ids"]
    plain = ask()
    assert ask(allowed_token_ids=[5, 6]) and set(ask(allowed_token_ids=[5, 6])) <= {5, 6}
    assert plain[0] not in ask(logit_bias={str(plain[0]): -100})
    assert ask(min_tokens=6, stop_token_ids=[plain[1]])[1] != plain[1]
    long = server.client.completions.create(model=server.model, prompt="a a a a a a a", max_tokens=30, temperature=0,
                                            frequency_penalty=2, extra_body={"ignore_eos": True, "return_token_ids": True})
    ids = long.choices[0].model_dump()["token_ids"]
    assert max(ids.count(i) for i in ids) <= 6


def test_bad_words_never_appear(server):
    plain = server.client.completions.create(model=server.model, prompt="The capital of France is", max_tokens=8, temperature=0)
    assert "Paris" in plain.choices[0].text
    reply = server.client.completions.create(model=server.model, prompt="The capital of France is", max_tokens=8,
                                             temperature=0, extra_body={"bad_words": ["Paris"]})
    assert "Paris" not in reply.choices[0].text


def test_the_prefix_cache_is_counted_in_usage(server):
    messages = [{"role": "user", "content": "Tell me about the sea and the ships on it. " * 6}]
    server.client.chat.completions.create(model=server.model, messages=messages, max_tokens=2)
    again = server.client.chat.completions.create(model=server.model, messages=messages, max_tokens=2)
    assert again.usage.prompt_tokens_details.cached_tokens >= 16


def test_chat_json_and_tools_template(server):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}}}}]
    reply = server.client.chat.completions.create(model=server.model, temperature=0, tools=tools, max_tokens=60,
                                                  messages=[{"role": "user", "content": "What is the weather in Paris?"}])
    assert reply.usage.prompt_tokens > 60, "the tools are in the prompt"


def test_metrics_carry_vllms_names(server):
    names = server.metrics()
    for name in ["vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
                 "vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:prefix_cache_queries_total",
                 "vllm:prefix_cache_hits_total", "vllm:num_preemptions_total", "vllm:time_to_first_token_seconds_count",
                 "vllm:inter_token_latency_seconds_sum", "vllm:e2e_request_latency_seconds_count",
                 "vllm:request_prompt_tokens_count", "vllm:request_generation_tokens_count",
                 'vllm:request_success_total{finished_reason="stop"}']:
        assert name in names, name
    assert names["vllm:generation_tokens_total"] > 0


def test_small_routes(server):
    assert server.request("/health")[0] == 200
    assert server.request("/ping")[0] == 200
    assert server.request("/ping", method="POST", raw=b"")[0] == 200
    assert "version" in server.request("/version")[1]
    assert "server_load" in server.request("/load")[1]
