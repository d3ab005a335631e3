"""/v1/completions through the official openai client: what a user of vLLM sends, and what comes back."""
import asyncio
import math

import openai
import pytest

PROMPT = "Once upon a time"
PROMPT_IDS = [1672, 767, 258, 580]


def create(server, **fields):
    fields = {"model": server.model, "prompt": PROMPT, "max_tokens": 8, "temperature": 0, **fields}
    return server.client.completions.create(**fields)


def text(server, **fields):
    return create(server, **fields).choices[0].text


def refused(server, **fields):
    """The error of a request that is the client's mistake."""
    with pytest.raises(openai.BadRequestError) as error:
        create(server, **fields)
    return error.value


@pytest.mark.parametrize("prompt", [PROMPT_IDS, [PROMPT], [PROMPT_IDS]], ids=["ids", "list of strings", "list of ids"])
def test_a_prompt_of_each_kind_is_the_same_prompt(server, prompt):
    assert text(server, prompt=prompt) == text(server)


def test_every_prompt_of_a_list_gets_its_own_answer_in_order(server):
    prompts = [PROMPT, "The capital of France is", "The sea"]
    together = create(server, prompt=prompts)
    assert [c.index for c in together.choices] == [0, 1, 2]
    assert [c.text for c in together.choices] == [text(server, prompt=p) for p in prompts]
    assert together.usage.completion_tokens == sum(create(server, prompt=p).usage.completion_tokens for p in prompts)


def test_echo_puts_the_prompt_before_the_answer_in_a_stream_too(server):
    assert text(server, echo=True) == PROMPT + text(server)
    assert "".join(c.choices[0].text for c in create(server, echo=True, stream=True)) == PROMPT + text(server)


def test_echo_of_ids_is_their_text(server):
    assert text(server, prompt=PROMPT_IDS, echo=True).startswith(PROMPT)


def test_echo_without_tokens_scores_the_prompt(server):
    reply = create(server, echo=True, max_tokens=0, logprobs=1)
    scores = reply.choices[0].logprobs
    assert reply.choices[0].text == PROMPT and "".join(scores.tokens) == PROMPT
    assert scores.token_logprobs[0] is None and all(x <= 0 for x in scores.token_logprobs[1:])
    assert scores.text_offset == [0, 4, 9, 11]
    assert reply.usage.completion_tokens == 0 and reply.usage.prompt_tokens == 4


def test_echo_scores_agree_with_prompt_logprobs(server):
    echoed = create(server, echo=True, max_tokens=0, logprobs=1).choices[0].logprobs.token_logprobs[1:]
    asked = create(server, max_tokens=1, extra_body={"prompt_logprobs": 1}).choices[0].prompt_logprobs[1:]
    ours = [entry[str(token)]["logprob"] for entry, token in zip(asked, PROMPT_IDS[1:])]
    assert ours == pytest.approx(echoed)


def test_many_answers_to_one_prompt_share_its_cost(server):
    reply = create(server, n=64, temperature=1, max_tokens=2, seed=1)
    assert [c.index for c in reply.choices] == list(range(64))
    assert reply.usage.prompt_tokens == 4 and reply.usage.completion_tokens <= 128
    assert len({c.text for c in reply.choices}) > 1


@pytest.mark.parametrize("fields,words", [
    ({"n": 2}, "n must be 1"),
    ({"n": 0}, "n must be at least 1"),
    ({"n": 20000, "temperature": 1}, "at most 16384"),
    ({"best_of": 3}, "best_of"),
    ({"suffix": "the end"}, "suffix"),
    ({"logprobs": 21}, "max allowed: 20"),
    ({"temperature": 2.5}, "temperature must be in [0, 2]"),
    ({"top_p": 1.5}, "top_p"),
    ({"presence_penalty": 2.1}, "presence_penalty"),
    ({"frequency_penalty": -2.1}, "frequency_penalty"),
    ({"logit_bias": {"no id": 1}}, "no id"),
    ({"prompt": [1, 2, 9000]}, "out of vocabulary"),
    ({"extra_body": {"repetition_penalty": 0}}, "repetition_penalty"),
    ({"extra_body": {"min_p": 1.5}}, "min_p"),
    ({"extra_body": {"top_k": -2}}, "top_k"),
    ({"extra_body": {"min_tokens": 9}}, "min_tokens"),
    ({"extra_body": {"allowed_token_ids": []}}, "allowed_token_ids"),
    ({"extra_body": {"stop_token_ids": [9000]}}, "[9000] in stop_token_ids contain out-of-vocab"),
    ({"extra_body": {"bad_words": [""]}}, "bad_words"),
    ({"extra_body": {"prompt_logprobs": 1}, "stream": True}, "prompt_logprobs"),
    ({"extra_body": {"prompt_logprobs": -2}}, "prompt_logprobs"),
    ({"extra_body": {"truncate_prompt_tokens": 5000}}, "truncate_prompt_tokens"),
    ({"extra_body": {"thinking_token_budget": -2}}, "thinking_token_budget"),
    ({"extra_body": {"use_beam_search": True}}, "use_beam_search"),
    ({"extra_body": {"prompt_embeds": "AAAA"}}, "prompt_embeds"),
    ({"extra_body": {"logprob_token_ids": [1]}}, "logprob_token_ids"),
    ({"extra_body": {"repetition_detection": True}}, "repetition_detection"),
    ({"extra_body": {"repetition_detection": {"min_count": "2"}}}, "repetition_detection.min_count"),
    ({"extra_body": {"repetition_detection": {"max_pattern_size": 4}}}, "min_count must be >= 2"),
    ({"extra_body": {"repetition_detection": {"min_pattern_size": 4}}}, "min_pattern_size <= max_pattern_size"),
    ({"extra_body": {"repetition_detection": {"max_pattern_size": 2049, "min_count": 2}}}, "at most 2048"),
    ({"extra_body": {"kv_transfer_params": {"do_remote_decode": True}}}, "kv_transfer_params"),
    ({"extra_body": {"vllm_xargs": {"a": 1}}}, "vllm_xargs"),
    ({"extra_body": {"logits_processors": ["x"]}}, "logits_processors"),
    ({"extra_body": {"guided_regex": "a+"}}, "structured_outputs"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_what_cannot_be_done_is_refused_by_name(server, fields, words):
    error = refused(server, **fields)
    assert words in error.message and error.status_code == error.body["code"] == 400
    assert error.type in ("BadRequestError", "Bad Request")


@pytest.mark.parametrize("fields", [
    {"best_of": 1}, {"user": "someone"}, {"suffix": ""}, {"logit_bias": {}}, {"stop": []},
    {"extra_body": {"length_penalty": 2.0, "early_stopping": True}},
    {"extra_body": {"spaces_between_special_tokens": False}},
    {"extra_body": {"session_id": "s", "cache_salt": "salt", "priority": 0}},
    {"extra_body": {"repetition_detection": {}}},
    {"extra_body": {"kv_transfer_params": None, "vllm_xargs": {}, "use_beam_search": False}},
    {"extra_body": {"some_field_of_tomorrow": {"a": [1]}}},
], ids=lambda fields: " ".join(fields.get("extra_body", fields)))
def test_what_asks_for_nothing_changes_nothing(server, fields):
    assert text(server, **fields) == text(server)


def test_an_answer_that_goes_in_circles_ends_with_vllms_reason(server):
    token = PROMPT_IDS[0]
    circle = {"allowed_token_ids": [token], "ignore_eos": True}
    rule = {"max_pattern_size": 3, "min_pattern_size": 2, "min_count": 3}
    before = server.metrics().get('vllm:request_success_total{finished_reason="repetition"}')
    assert before is not None

    assert create(server, max_tokens=20, extra_body=circle).choices[0].finish_reason == "length"
    ended = create(server, max_tokens=20,
                   extra_body={**circle, "repetition_detection": rule, "return_token_ids": True}).choices[0]
    assert ended.token_ids == [token] * 6
    assert (ended.finish_reason, ended.stop_reason) == ("repetition", "repetition_detected")
    assert ended.text == server.request("/detokenize", {"tokens": ended.token_ids})[1]["prompt"]

    *_, last = create(server, max_tokens=20, stream=True, extra_body={**circle, "repetition_detection": rule})
    assert (last.choices[0].finish_reason, last.choices[0].stop_reason) == ("repetition", "repetition_detected")
    chat = server.client.chat.completions.create(
        model=server.model, messages=[{"role": "user", "content": "Hi"}], max_tokens=20,
        extra_body={**circle, "repetition_detection": {**rule, "min_count": 4}})
    assert (chat.choices[0].finish_reason, chat.usage.completion_tokens) == ("repetition", 8)
    reply = server.client.responses.create(model=server.model, input="Hi", max_output_tokens=20,
                                           extra_body={**circle, "repetition_detection": rule})
    assert (reply.status, reply.output[-1].status, reply.usage.output_tokens) == ("completed", "completed", 6)
    assert server.metrics()['vllm:request_success_total{finished_reason="repetition"}'] == before + 4


@pytest.mark.parametrize("greedy", [{"top_p": 1e-6}, {"extra_body": {"top_k": 1}}, {"extra_body": {"min_p": 1.0}}],
                         ids=["top_p", "top_k", "min_p"])
def test_a_filter_that_leaves_one_token_is_greedy(server, greedy):
    assert text(server, temperature=1, seed=7, **greedy) == text(server)


def test_a_seed_repeats_an_answer_and_minus_one_is_none(server):
    assert text(server, temperature=1.5, seed=3) == text(server, temperature=1.5, seed=3)
    assert len({text(server, temperature=2, seed=-1, max_tokens=16) for _ in range(4)}) > 1


def test_a_bias_forces_and_forbids_tokens(server):
    assert text(server, logit_bias={"4069": 100}) == " France" * 8
    first = create(server, extra_body={"return_token_ids": True}).choices[0].token_ids[0]
    other = create(server, logit_bias={str(first): -100}, extra_body={"return_token_ids": True}).choices[0].token_ids
    assert first not in other


def test_a_repetition_penalty_acts_on_the_prompt_too(server):
    ids = create(server, max_tokens=60, extra_body={"repetition_penalty": 1e6, "return_token_ids": True, "ignore_eos": True}
                 ).choices[0].token_ids
    assert len(set(ids + PROMPT_IDS)) == 64


@pytest.mark.parametrize("max_tokens", [openai.NOT_GIVEN, None], ids=["left out", "null"])
def test_the_default_length_is_sixteen(server, max_tokens):
    reply = create(server, max_tokens=max_tokens, extra_body={"ignore_eos": True})
    assert reply.usage.completion_tokens == 16 and reply.choices[0].finish_reason == "length"


def test_a_thinking_budget_ends_the_thinking_that_the_prompt_has_opened(server):
    prompt = "<|im_start|>user\nWhat is the capital of Japan?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    fields = {"prompt": prompt, "max_tokens": 20, "extra_body": {"return_token_ids": True, "skip_special_tokens": False}}
    end = server.request("/tokenize", {"prompt": "</think>"})[1]["tokens"][0]
    free = create(server, **fields).choices[0].model_extra["token_ids"]
    assert end not in free[:4]
    fields["extra_body"]["thinking_token_budget"] = 3
    assert create(server, **fields).choices[0].model_extra["token_ids"][:4] == free[:3] + [end]


def test_min_tokens_outlasts_the_end_of_the_text(server):
    fields = {"prompt": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "max_tokens": 30}
    short = create(server, **fields)
    assert short.choices[0].finish_reason == "stop" and short.usage.completion_tokens < 25
    assert create(server, **fields, extra_body={"min_tokens": 25}).usage.completion_tokens >= 25


def test_logprobs_follow_the_text(server):
    choice = create(server, logprobs=3).choices[0]
    scores = choice.logprobs
    assert "".join(scores.tokens) == choice.text and len(scores.tokens) == 8
    assert scores.text_offset == [len("".join(scores.tokens[:i])) for i in range(8)]
    for token, value, top in zip(scores.tokens, scores.token_logprobs, scores.top_logprobs):
        assert len(top) == 3 and top[token] == value == max(top.values()) and math.exp(value) <= 1
    assert create(server, logprobs=0).choices[0].logprobs.tokens == scores.tokens


def test_streamed_logprobs_are_those_of_the_whole_answer(server):
    whole = create(server, logprobs=2).choices[0].logprobs
    chunks = [c.choices[0].logprobs for c in create(server, logprobs=2, stream=True)]
    assert [t for c in chunks for t in c.tokens] == whole.tokens
    assert [o for c in chunks for o in c.text_offset] == whole.text_offset


def test_tokens_can_be_shown_as_ids(server):
    choice = create(server, logprobs=1, extra_body={"return_tokens_as_token_ids": True, "return_token_ids": True}).choices[0]
    assert choice.logprobs.tokens == [f"token_id:{i}" for i in choice.token_ids]


def test_token_ids_come_with_the_answer_and_with_a_stream(server):
    choice = create(server, extra_body={"return_token_ids": True}).choices[0]
    assert choice.prompt_token_ids == PROMPT_IDS
    assert server.request("/detokenize", {"tokens": choice.token_ids})[1]["prompt"] == choice.text
    chunks = [c.choices[0] for c in create(server, stream=True, extra_body={"return_token_ids": True})]
    assert [i for c in chunks for i in c.token_ids] == choice.token_ids
    assert chunks[0].prompt_token_ids == PROMPT_IDS and not (chunks[1].model_extra or {}).get("prompt_token_ids")


def test_usage_is_streamed_only_on_request(server):
    assert all(c.usage is None and c.choices for c in create(server, stream=True))
    last = list(create(server, stream=True, stream_options={"include_usage": True}))[-1]
    assert last.choices == [] and last.usage.completion_tokens == 8 and last.usage.prompt_tokens == 4
    counted = create(server, stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True})
    assert [c.usage.completion_tokens for c in counted] == [1, 2, 3, 4, 5, 6, 7, 8, 8]


def test_a_stream_of_several_prompts_and_answers_names_each(server):
    fields = {"prompt": ["The sea", "The wood"], "n": 2, "temperature": 1, "seed": 4}
    whole = create(server, **fields)
    texts = [""] * 4
    for chunk in create(server, **fields, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [c.text for c in whole.choices]


def test_a_stop_string_may_lie_across_tokens(server):
    stop = text(server)[1:12]
    assert len(stop.split()) > 1
    for stream in (False, True):
        got = create(server, stop=stop, stream=stream)
        got = "".join(c.choices[0].text for c in got) if stream else got.choices[0].text
        assert got == text(server)[0]


def test_special_tokens_are_shown_on_request(server):
    prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    shown = text(server, prompt=prompt, max_tokens=30, extra_body={"skip_special_tokens": False, "stop_token_ids": [8187],
                                                                   "ignore_eos": True})
    assert "<|im_" not in text(server, prompt=prompt, max_tokens=30)
    assert text(server, prompt=prompt, max_tokens=30) in shown


def test_a_prompt_is_cut_on_the_side_that_is_asked_for(server):
    def kept(side):
        return create(server, extra_body={"truncate_prompt_tokens": 2, "truncation_side": side, "return_token_ids": True}
                      ).choices[0].prompt_token_ids
    assert kept("left") == PROMPT_IDS[2:] and kept("right") == PROMPT_IDS[:2]


def test_the_clients_ids_are_in_the_answers(server):
    assert create(server, extra_body={"request_id": "mine"}).id == "cmpl-mine"
    reply = create(server, extra_body={"request_id": "mine"}, extra_headers={"X-Request-Id": "header-wins"})
    assert reply.id == "cmpl-header-wins"


def test_a_choice_is_one_of_those_given(server):
    assert text(server, extra_body={"structured_outputs": {"choice": ["red", "blue"]}}) in ("red", "blue")


def test_the_async_client_gets_the_same(server):
    async def ask():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
            fields = {"model": server.model, "prompt": PROMPT, "max_tokens": 8, "temperature": 0}
            whole = (await client.completions.create(**fields)).choices[0].text
            streamed = [c.choices[0].text async for c in await client.completions.create(**fields, stream=True)]
            return whole, "".join(streamed)
    assert asyncio.run(ask()) == (text(server), text(server))
