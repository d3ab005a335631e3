"""What the official openai client meets when things go wrong: its own error classes, time-outs, clients that leave, and
many at once."""
import asyncio

import httpx
import openai
import pytest
from conftest import Server

PROMPT = "Once upon a time"


def complete(server, client=None, **fields):
    fields = {"model": server.model, "prompt": PROMPT, "max_tokens": 8, "temperature": 0, **fields}
    return (client or server.client).completions.create(**fields)


def endless(server, client=None, **fields):
    """A request that takes seconds."""
    return complete(server, client, max_tokens=2000, n=8, temperature=1, extra_body={"ignore_eos": True}, **fields)


def test_an_unknown_model_is_not_found_by_either_endpoint(server):
    for ask in (lambda: complete(server, model="gpt-99"), lambda: server.client.models.retrieve("gpt-99"),
                lambda: server.client.chat.completions.create(model="gpt-99", messages=[{"role": "user", "content": "Hi"}])):
        with pytest.raises(openai.NotFoundError, match="The model `gpt-99` does not exist") as error:
            ask()
        assert error.value.param == "model" and error.value.type == "NotFoundError"


def test_an_endpoint_that_is_not_there_is_named(server):
    with pytest.raises(openai.NotFoundError, match="/v1/embeddings"):
        server.client.embeddings.create(model=server.model, input="x")


def test_a_wrong_key_is_an_authentication_error():
    with Server("--api-key", "sk-right") as server:
        right = server.client.with_options(api_key="sk-right")
        assert right.completions.create(model=right.models.list().data[0].id, prompt="Hi", max_tokens=1).choices
        for wrong in ("sk-wrong", "sk-righ", "sk-right1"):
            with pytest.raises(openai.AuthenticationError) as error:
                server.client.with_options(api_key=wrong).models.list()
            assert error.value.status_code == 401 and "sk-right" not in str(error.value)


@pytest.mark.parametrize("body", [
    {"prompt": {"a": 1}}, {"prompt": ["a", 1]}, {"max_tokens": "many"}, {"temperature": "hot"}, {"stream": "yes"}, {"n": 1.5},
    {"stop": 5}, {"logit_bias": [1]}, {"seed": 10**30}, {"stream_options": 3}, {"stop_token_ids": ["a"]}, {"priority": "high"},
], ids=lambda body: next(iter(body)))
def test_a_field_of_the_wrong_shape_is_a_bad_request_and_named(server, body):
    with pytest.raises(openai.BadRequestError) as error:
        complete(server, extra_body=body)
    assert error.value.type == "Bad Request" and error.value.param == f"body.{next(iter(body))}"
    assert error.value.body["message"].startswith("1 validation error: body.")


def test_a_prompt_beyond_the_context_is_refused_in_vllms_words(server):
    with pytest.raises(openai.BadRequestError, match="maximum context length is 2048 tokens. However, you requested 8 "
                                                     "output tokens and your prompt contains 5001 input tokens") as error:
        complete(server, prompt="w " * 5000)
    assert error.value.param == "input_tokens" and "Please reduce the length" in error.value.message


def test_an_answer_beyond_the_context_is_refused_whatever_the_prompt(server):
    with pytest.raises(openai.BadRequestError, match="max_tokens=5000 cannot be greater than max_model_len=2048") as error:
        complete(server, max_tokens=5000)
    assert error.value.param == "max_tokens"


def test_members_of_members_are_named_in_full(server):
    with pytest.raises(openai.BadRequestError) as error:
        complete(server, stream=True, stream_options={"include_usage": "yes"})
    assert error.value.param == "body.stream_options.include_usage"


def test_a_role_that_the_template_passes_over_is_refused(server):
    with pytest.raises(openai.BadRequestError, match="no messages of role `critic`"):
        server.client.chat.completions.create(model=server.model, messages=[{"role": "critic", "content": "No."}])


def test_a_very_long_prompt_is_refused_too(server):
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        complete(server, prompt="word " * 200_000)


@pytest.mark.parametrize("prompt", ["", [], [[]], ["a", ""]], ids=["text", "list", "ids", "one of two"])
def test_an_empty_prompt_is_refused(server, prompt):
    with pytest.raises(openai.BadRequestError, match="empty"):
        complete(server, prompt=prompt)


@pytest.mark.parametrize("prompt", [" ", "\n\n", "\t", "\u00a0"], ids=["blank", "lines", "tab", "no-break"])
def test_white_space_is_a_prompt(server, prompt):
    assert complete(server, prompt=prompt).usage.prompt_tokens >= 1


def test_an_empty_message_is_a_message(server):
    reply = server.client.chat.completions.create(model=server.model, messages=[{"role": "user", "content": ""}], max_tokens=4)
    assert reply.choices[0].message.content


def test_a_time_out_of_the_client_frees_the_request(server):
    with pytest.raises(openai.APITimeoutError):
        endless(server, server.client.with_options(timeout=0.3))
    server.wait_idle(10)


def test_a_stream_that_is_closed_early_frees_the_request(server):
    stream = endless(server, stream=True)
    next(iter(stream))
    stream.close()
    server.wait_idle(10)


def test_a_cancelled_task_frees_the_request(server):
    async def ask():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
            task = asyncio.create_task(endless(server, client))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    asyncio.run(ask())
    server.wait_idle(10)


def test_fifty_at_once_get_their_own_answers(server):
    prompts = [[300 + i, 310 + i, 320 + i] for i in range(50)]

    async def ask():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
            async def one(i):
                fields = {"model": model, "prompt": prompts[i], "max_tokens": 6, "temperature": 0, "stream": i % 2 == 0,
                          "extra_body": {"return_token_ids": True, "ignore_eos": True}}
                reply = await client.completions.create(**fields)
                if not fields["stream"]:
                    return reply.choices[0].token_ids
                return [token async for chunk in reply for token in chunk.choices[0].token_ids]
            return await asyncio.gather(*map(one, range(50)))
    model = server.model
    together = asyncio.run(ask())
    alone = [complete(server, prompt=p, max_tokens=6, extra_body={"return_token_ids": True, "ignore_eos": True}
                      ).choices[0].token_ids for p in prompts[::10]]
    assert together[::10] == alone and len({tuple(ids) for ids in together}) > 25


def test_no_server_is_a_connection_error():
    nowhere = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.APIConnectionError):
        nowhere.models.list()


def test_models_are_listed_and_found_by_their_names():
    with Server("--served-model-name", "first", "org/second model") as server:
        assert [m.id for m in server.client.models.list()] == ["first", "org/second model"]
        assert server.client.models.retrieve("org/second model").max_model_len == 2048
        assert complete(server, model="org/second model").model == "org/second model"
        assert server.model == "first"


def test_raw_http_needs_no_model_and_no_key(server):
    reply = httpx.post(server.url + "/v1/completions", json={"prompt": PROMPT, "max_tokens": 2}, timeout=20)
    assert reply.status_code == 200 and reply.json()["model"] == server.model
