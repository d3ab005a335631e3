"""Attacks on the program as it is started by default, or with the flag that stands against them.

docs/security.md has a line for each: the threat, what is done, and the test's name here. What happens to the bytes of HTTP
itself (smuggling, slow heads and bodies, half-open connections) is tested in src/serve/{request_reader,transport,smuggling}_test.cc."""
import json
import os
import socket
import threading
import time

import anthropic
import openai
import pytest
from conftest import Server

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
USER = [{"role": "user", "content": "hello"}]
JSON_TYPE = b"Content-Type: application/json\r\n"


def exchange(server, head, body=b"", seconds=10):
    """Sends bytes as they are. Returns (status, {header: value}, body) of the first answer; (0, …) if there was none."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as s:
        s.sendall(head.replace(b"\n", b"\r\n") if b"\r\n" not in head else head)
        if body:
            try:
                s.sendall(body)
            except OSError:
                pass  # refused meanwhile; the answer is there all the same
        reply = s.makefile("rb")
        line = reply.readline().split()
        if len(line) < 2:
            return 0, {}, b""
        headers = {}
        while (field := reply.readline().rstrip(b"\r\n")):
            name, _, value = field.partition(b": ")
            headers[name.decode().lower()] = value.decode("latin-1")
        return int(line[1]), headers, reply.read(int(headers.get("content-length", 0)))


def post(server, path, body=b"{}", more=b""):
    head = b"POST %s HTTP/1.1\r\nHost: t\r\n%s%sContent-Length: %d\r\n\r\n" % (path.encode(), JSON_TYPE, more, len(body))
    return exchange(server, head, body)


def get(server, path, method=b"GET", more=b""):
    return exchange(server, b"%s %s HTTP/1.1\r\nHost: t\r\n%s\r\n" % (method, path, more))


def refused(server, path, body, words, status=400):
    got, reply = server.request(path, body)
    assert got == status, (got, str(reply)[:300])
    assert words in reply["error"]["message"], str(reply)[:300]


def still_well(server):
    assert server.request(COMPLETIONS, {"prompt": "a", "max_tokens": 1})[0] == 200


@pytest.fixture(scope="module")
def logging_server():
    with Server("--enable-log-requests", "--io-threads", "2") as s:
        yield s


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Keys from a file that everyone can read, and every limit."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("# who may\nalice-secret\nbob-secret\n")
    file.chmod(0o644)
    with Server("--api-key-file", file, "--served-model-name", "octavo-tiny", "--max-streams-per-client", 2, "--rate-limit-per-client", "1000/m",
                "--key-failures-per-client", "20/h", "--max-queue", 1000) as s:
        s.key_file = file
        yield s


# --- keys and clients

def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_without_a_key_nothing_is_read_and_nothing_is_said(guarded):
    before = guarded.memory_kib()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\n%sContent-Length: 30000000\r\n\r\n" % JSON_TYPE
    idle = [socket.create_connection(("127.0.0.1", guarded.port), timeout=10) for _ in range(20)]
    for s in idle:
        s.sendall(head)
    assert all(b" 401 " in s.recv(100) for s in idle)
    for s in idle:
        s.close()
    assert guarded.memory_kib() - before < 16 * 1024
    for path in ["/v1/models", "/engine/state", "/slots", "/props", "/no/such/route", "/tokenizer_info"]:
        status, _, body = get(guarded, path.encode())
        assert status == 401 and b"octavo-tiny" not in body, path
    for path in [CHAT, "/tokenize", "/detokenize", "/invocations", "/v1/responses", "/inference/v1/generate"]:
        assert post(guarded, path)[0] == 401, path


def test_both_dialects_know_their_authentication_error(guarded):
    with pytest.raises(openai.AuthenticationError) as error:
        openai.OpenAI(base_url=guarded.url + "/v1", api_key="wrong", max_retries=0).models.list()
    assert error.value.response.headers["www-authenticate"] == "Bearer"
    assert error.value.body["type"] == "AuthenticationError"
    with pytest.raises(anthropic.AuthenticationError) as error:
        anthropic.Anthropic(base_url=guarded.url, api_key="wrong", max_retries=0).messages.create(
            model="octavo-tiny", max_tokens=4, messages=USER)
    assert error.value.body["error"]["type"] == "authentication_error"
    good = anthropic.Anthropic(base_url=guarded.url, api_key="alice-secret", max_retries=0)
    assert good.messages.create(model="octavo-tiny", max_tokens=4, messages=USER).content


def test_a_revoked_key_stops_working_without_a_restart(guarded):
    assert guarded.request("/v1/models", headers=bearer("bob-secret"))[0] == 200
    text = guarded.key_file.read_text()
    guarded.key_file.write_text(text + "carol-secret\n")
    deadline = time.time() + 10
    while guarded.request("/v1/models", headers=bearer("carol-secret"))[0] != 200:
        assert time.time() < deadline
        time.sleep(0.6)  # few enough wrong keys for the limit of this server
    guarded.key_file.write_text(text)
    while guarded.request("/v1/models", headers=bearer("carol-secret"))[0] == 200:
        assert time.time() < deadline
        time.sleep(0.1)


def test_keys_appear_neither_in_logs_nor_in_metrics_nor_in_answers(guarded):
    guarded.request(CHAT, {"messages": USER, "max_tokens": 1}, headers=bearer("alice-secret"))
    answer = guarded.request("/v1/models", headers=bearer("a-wrong-secret"))[1]
    everything = guarded.read_log() + guarded.request("/metrics")[1] + json.dumps(answer)
    assert "secret" not in everything
    assert "can be read by every user" in guarded.read_log(), "the file's permissions"


def test_one_client_cannot_take_all_streams(guarded):
    def client(key):
        return openai.OpenAI(base_url=guarded.url + "/v1", api_key=key, max_retries=0)
    endless = {"model": "", "prompt": "a", "max_tokens": 1500, "stream": True, "extra_body": {"ignore_eos": True}}
    streams = [client("alice-secret").completions.create(**endless) for _ in range(2)]
    for stream in streams:
        next(iter(stream))
    with pytest.raises(openai.RateLimitError) as error:
        client("alice-secret").completions.create(model="", prompt="a", max_tokens=1)
    assert error.value.response.headers["retry-after"] == "1"
    with pytest.raises(anthropic.RateLimitError) as error:
        anthropic.Anthropic(base_url=guarded.url, api_key="alice-secret", max_retries=0).messages.create(
            model="octavo-tiny", max_tokens=4, messages=USER)
    assert error.value.body["error"]["type"] == "rate_limit_error"
    assert client("bob-secret").completions.create(model="", prompt="a", max_tokens=1).choices
    for stream in streams:
        stream.close()
    # The SDK's own retries are enough once a stream has ended.
    patient = openai.OpenAI(base_url=guarded.url + "/v1", api_key="alice-secret", max_retries=5)
    assert patient.completions.create(model="", prompt="a", max_tokens=1).choices
    metrics = guarded.metrics()
    assert metrics['octavo:http_refused_total{reason="streams_per_client"}'] >= 2
    assert metrics['octavo:http_limit{limit="streams_per_client"}'] == 2


def test_a_claimed_address_is_not_believed():
    with Server("--rate-limit-per-client", "2/h") as s:
        def attempt(address):
            return s.request("/tokenize", {"prompt": "a"}, headers={"X-Forwarded-For": address, "Forwarded": f"for={address}"})[0]
        assert [attempt(f"203.0.113.{i}") for i in range(4)] == [200, 200, 429, 429]


def test_guessing_keys_ends_in_429(guarded):
    statuses = [guarded.request("/v1/models", headers=bearer(f"guess-{i}"))[0] for i in range(40)]
    assert statuses[0] == 401 and statuses[-1] == 429
    assert guarded.request("/v1/models", headers=bearer("alice-secret"))[0] == 429, "not even with the right one"
    assert guarded.request("/health")[0] == 200
    assert "too many wrong API keys from 127.0.0.1" in guarded.read_log()
    assert guarded.metrics()['octavo:http_refused_total{reason="key_failures"}'] >= 1
    # The last test with this server: its address is locked out for an hour.


def test_another_clients_answers_cannot_be_seen_or_ended():
    with Server("--api-key", "alice", "bob") as s:
        status, stored = s.request("/v1/responses", {"input": "hello", "max_output_tokens": 16, "store": True}, headers=bearer("alice"))
        assert status == 200
        for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")]:
            url = "/v1/responses/" + stored["id"] + path
            assert s.request(url, method=method, headers=bearer("bob"))[0] == 404, (method, path)
        follow = {"input": "and?", "max_output_tokens": 16, "previous_response_id": stored["id"]}
        assert s.request("/v1/responses", follow, headers=bearer("bob"))[0] == 404
        assert s.request("/v1/responses", follow, headers=bearer("alice"))[0] == 200
        # An id that two choose is two requests.
        body = {"prompt": "a", "max_tokens": 300, "request_id": "same", "ignore_eos": True}
        results = []
        threads = [threading.Thread(target=lambda k=k: results.append(s.request(COMPLETIONS, body, headers=bearer(k)))) for k in ["alice", "bob"]]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert [r[1]["usage"]["completion_tokens"] for r in results] == [300, 300]


# --- paths and methods

def test_paths_are_compared_and_never_resolved(server):
    for path in ["/page/../../../../etc/passwd", "/page/..%2f..%2fetc/passwd", "/page//etc/passwd", "/page/%2e%2e/config.json",
                 "/page/....//config.json", "/page/chat.js%00.html", "/v1/models/../../etc/passwd", "/v1/models/..%2f..%2fconfig.json",
                 "/v1/models/%2e%2e", "//v1/models", "/./v1/models", "/v1/models/../models", "/V1/MODELS", "/v1/models;x=1",
                 "/v1/responses/..%2f..", "/v1%2fmodels", "/metrics/.", "/etc/passwd"]:
        status, headers, body = get(server, path.encode())
        assert status == 404, (path, status)
        assert headers["content-type"] == "application/json" and b"root:" not in body


def test_no_directory_is_listed(server):
    for path in ["/page/", "/page", "/v1/", "/v1", "/static/", "/.git/config", "/.env", "/index.html"]:
        assert get(server, path.encode())[0] == 404, path


def test_a_slash_too_much_leads_to_the_route_by_its_own_name_alone(server):
    for path in ["/metrics", "/v1/models"]:
        status, headers, body = get(server, path.encode() + b"/")
        assert (status, headers["location"], body) == (307, path, b"")
    for path in ["//v1/models/", "/\\example.com/", "//example.com/"]:
        status, headers, _ = get(server, path.encode())
        assert status == 404 and "location" not in headers


def test_verbs_are_taken_at_their_word(server):
    for method in [b"PUT", b"DELETE", b"PATCH", b"TRACE", b"PROPFIND", b"post", b"Get", b"GETX", b"A"]:
        status, headers, _ = get(server, b"/v1/completions", method)
        assert status == 405 and headers["allow"] == "POST", method
    assert get(server, b"example.com:443", b"CONNECT")[0] in (400, 404, 405)
    for override in [b"X-HTTP-Method-Override: POST\r\n", b"X-HTTP-Method: POST\r\n", b"X-Method-Override: POST\r\n"]:
        assert get(server, b"/v1/completions?_method=POST", b"GET", override)[0] == 405
    for header in [b"X-Original-URL: /health\r\n", b"X-Rewrite-URL: /health\r\n", b"X-Forwarded-Prefix: /health\r\n"]:
        assert get(server, b"/v1/nothing", b"GET", header)[0] == 404


def test_routes_of_development_are_not_there(server):
    for path in ["/reset_prefix_cache", "/abort_requests", "/server_info", "/sleep", "/wake_up", "/collective_rpc",
                 "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/start_profile", "/scale_elastic_ep"]:
        for method in ["GET", "POST"]:
            assert server.request(path, {} if method == "POST" else None, method=method)[0] == 404, path


# --- what comes back, and what is written down

def test_what_is_quoted_is_never_markup(server):
    script = "<script>alert(1)</script>"
    answers = [get(server, b"/<script>alert(1)</script>"), get(server, b"/v1/models/<script>alert(1)</script>"),
               post(server, COMPLETIONS, json.dumps({"prompt": "a", "model": script}).encode()),
               post(server, COMPLETIONS, json.dumps({"prompt": "a", "logit_bias": {script: 1}}).encode()),
               post(server, COMPLETIONS, b"{}", b"X-Request-Id: <script>\r\n"),
               exchange(server, b"<script> HTTP/1.1\r\n\r\n"), get(server, b"/", b"GET", b"Accept-Encoding: identity\r\n")]
    for status, headers, body in answers:
        assert status >= 400
        assert headers["content-type"].startswith(("application/json", "text/plain"))
        assert headers["x-content-type-options"] == "nosniff", body


def test_an_error_quotes_only_so_much(server):
    long = "é" * 1_000_000
    for path, body in [(COMPLETIONS, {"prompt": "a", "model": long}), (COMPLETIONS, {"prompt": "a", "logit_bias": {long: 1}}),
                       ("/v1/messages", {"model": long, "max_tokens": 4, "messages": USER})]:
        status, _, reply = post(server, path, json.dumps(body).encode())
        assert status in (400, 404) and len(reply) < 5000 and json.loads(reply)["error"]["message"].endswith("…")


def test_a_log_line_cannot_be_forged(logging_server):
    s = logging_server
    forged = "x\nERROR 01-01 00:00:00 [engine] forged\x1b[2J\u202egnp\u2028\x9b31m"
    s.request(COMPLETIONS, {"prompt": "a", "max_tokens": 1, "request_id": forged, "user": forged, "cache_salt": forged})
    s.request(CHAT, {"messages": USER, "max_tokens": 1, "request_id": forged})
    s.request(COMPLETIONS, {"prompt": "a", "model": forged})
    post(s, COMPLETIONS, b'{"prompt":"a","max_tokens":1}', "X-Request-Id: forged\x9b2J\u202e\r\n".encode())
    post(s, COMPLETIONS, b'{"prompt":"a","max_tokens":1}', b"X-Request-Id: forged\xff\xfe\r\n")
    get(s, "/forged\u202e\x9b".encode())
    log = s.log_file
    log.seek(0)
    raw = os.pread(log.fileno(), 1 << 24, 0).decode()
    assert "x\\nERROR" in raw, "the request was logged"
    assert not any(line.startswith("ERROR") for line in raw.split("\n"))
    assert not any(c in raw for c in "\x1b\u202e\u2028\x9b\r\x00")


def test_a_header_cannot_be_split(logging_server):
    split = "id\r\nSet-Cookie: stolen=1\r\n\r\n<html>"
    for path, body in [(COMPLETIONS, {"prompt": "a"}), (CHAT, {"messages": USER})]:
        data = json.dumps({**body, "max_tokens": 1, "request_id": split, "model": ""}).encode()
        status, headers, _ = post(logging_server, path, data)
        assert status == 200 and "set-cookie" not in headers
    status, headers, _ = get(logging_server, b"/v1/models/a%0d%0aSet-Cookie:stolen")
    assert status == 404 and "set-cookie" not in headers


def test_prompts_are_seen_by_nobody_else(logging_server):
    s = logging_server
    thread = threading.Thread(target=lambda: s.request(CHAT, {"messages": [{"role": "user", "content": "xyzzysecret"}],
                                                              "max_tokens": 150, "ignore_eos": True}))
    thread.start()
    while s.metrics()["vllm:num_requests_running"] < 1 and thread.is_alive():
        time.sleep(0.002)
    seen = "".join(str(s.request(path)[1]) for path in ["/metrics", "/engine/state", "/slots", "/props", "/load"])
    thread.join()
    assert "xyzzysecret" not in seen + s.read_log()


def test_a_browser_on_another_site_learns_nothing_where_origins_are_listed():
    with Server("--allowed-origins", '["https://good.example"]', "--allow-credentials") as s:
        for origin in [b"https://evil.example", b"null", b"https://good.example.evil.example", b"http://good.example"]:
            _, headers, _ = get(s, b"/v1/models", b"GET", b"Origin: " + origin + b"\r\n")
            assert "access-control-allow-origin" not in headers, origin
        _, headers, _ = get(s, b"/v1/models", b"GET", b"Origin: https://good.example\r\n")
        assert headers["access-control-allow-origin"] == "https://good.example" and "origin" in headers["vary"].lower()


# --- bodies

def test_bodies_beyond_the_limit_are_cut_off_in_every_dialect():
    with Server("--max-body-bytes", "100K", "--max-header-bytes", "8K", "--h11-max-header-count", 50) as s:
        before = s.memory_kib()
        for path, kind in [(CHAT, "RequestTooLargeError"), ("/v1/messages", "request_too_large"), ("/v1/responses", "RequestTooLargeError")]:
            status, _, body = exchange(s, b"POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999999\r\n\r\n" % path.encode())
            assert status == 413 and json.loads(body)["error"]["type"] == kind
            chunks = b"".join(b"8000\r\n" + b"x" * 0x8000 + b"\r\n" for _ in range(64))
            status, _, body = exchange(s, b"POST %s HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode(), chunks)
            assert status == 413 and json.loads(body)["error"]["type"] == kind
        for size in [b"FFFFFFFFFFFFFFFF", b"8000000000000000", b"7fffffffffffffff", b"1" * 17]:
            assert exchange(s, b"POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n")[0] == 413
        for many in [b"X: " + b"y" * 9000 + b"\r\n", b"".join(b"X-%d: y\r\n" % i for i in range(60))]:
            status, _, body = post(s, "/v1/messages", b"{}", many)
            assert status == 431 and json.loads(body)["type"] == "error"
        assert s.memory_kib() - before < 8 * 1024
        assert s.metrics()['octavo:http_refused_total{reason="body_too_large"}'] == 10


def test_compressed_bodies_are_refused(server):
    for coding in [b"gzip", b"deflate", b"br", b"zstd", b"gzip, gzip"]:
        status, headers, _ = post(server, COMPLETIONS, b"\x1f\x8b\x08" * 100, b"Content-Encoding: " + coding + b"\r\n")
        assert status == 415 and headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("body", [
    b"[" * 1_000_000, b'{"a":' * 500_000, b'{"prompt":"a","temperature":' + b"9" * 1_000_000 + b"}",
    b'{"prompt":"a","temperature":1e999999999}', b'{"prompt":"a","max_tokens":-9223372036854775809}',
    b'{"prompt":"a","seed":' + b"1" * 400 + b"}", b'{"prompt":[' + b"0," * 9_000_000 + b"0]}",
    b'{"prompt":"\\ud800"}', b'{"prompt":"a\x00"}', b'{"prompt":"' + b"\xed\xa0\x80" + b'"}', b"\xef\xbb\xbf{}", b"{} {}"],
    ids=["deep lists", "deep objects", "a huge number", "a huge exponent", "beyond int64", "a huge seed", "millions of values",
         "a lone surrogate", "a control character", "a surrogate in UTF-8", "a byte order mark", "two texts"])
def test_json_bombs_are_refused(server, body):
    before = server.memory_kib()
    started = time.time()
    status, _, reply = post(server, COMPLETIONS, body)
    assert status in (400, 413) and json.loads(reply)["error"]["message"]
    assert len(reply) < 2000 and time.time() - started < 20
    assert server.memory_kib() - before < 128 * 1024


def test_millions_of_members_take_no_hours(server):
    members = b",".join(b'"k%d":0' % i for i in range(300_000))
    for path, body in [(COMPLETIONS, b'{"prompt":"a","max_tokens":1,' + members + b"}"),
                       (CHAT, b'{"messages":[{"role":"user","content":"x",' + members + b'}],"max_tokens":1}'),
                       (CHAT, b'{"messages":[{"role":"user","content":"x"}],"max_tokens":1,"chat_template_kwargs":{' + members + b"}}"),
                       (COMPLETIONS, b'{"prompt":"a","max_tokens":1,"logit_bias":{' + members.replace(b"k", b"") + b"}}")]:
        started = time.time()
        assert post(server, path, body)[0] in (200, 400)
        assert time.time() - started < 20


def test_of_two_members_of_one_name_the_last_counts_everywhere(server):
    status, _, reply = post(server, COMPLETIONS, b'{"prompt":"a","max_tokens":9,"max_tokens":1}')
    assert status == 200 and json.loads(reply)["usage"]["completion_tokens"] == 1


# --- fields

@pytest.mark.parametrize("field,words", [
    ({"n": 10**6}, "n must be at most"), ({"n": -1}, "n must be at least 1"), ({"prompt": ["a"] * 1024, "n": 1000}, "n are more than"),
    ({"prompt": ["a"] * 5000}, "At most 1024 prompts"), ({"stop": ["x"] * 5}, "At most 4"), ({"stop": "x" * 100_000}, "stop strings have"),
    ({"stop_token_ids": [1] * 100_000}, "stop_token_ids"), ({"logit_bias": {str(i).zfill(9): 1 for i in range(20_000)}}, "logit_bias"),
    ({"allowed_token_ids": [1] * 1_000_000}, "allowed_token_ids"), ({"bad_words": ["x"] * 100_000}, "bad_words"),
    ({"bad_words": ["x" * 100_000]}, "bad_words"), ({"logprobs": 10**6}, "logprobs"), ({"max_tokens": 2**31 - 1}, "max_tokens"),
    ({"prompt": "hello " * 2_000_000}, "maximum context length"), ({"prompt": [1] * 2_000_000}, "maximum context length"),
    ({"request_id": "x" * 1_000_000, "stream": True}, "id is longer"),
    ({"prompt": "hello " * 1_000_000, "truncate_prompt_tokens": 10**9}, "truncate"),
], ids=lambda v: next(iter(v)) if isinstance(v, dict) else None)
def test_fields_that_ask_for_too_much_are_refused(server, field, words):
    before = server.memory_kib()
    refused(server, COMPLETIONS, {"prompt": "a", "max_tokens": 1, "temperature": 1, **field}, words)
    assert server.memory_kib() - before < 512 * 1024


def test_fields_that_leave_nothing_to_choose_are_the_callers_mistake(server):
    word = server.request("/detokenize", {"tokens": [500]})[1]["prompt"]
    token = server.request("/tokenize", {"prompt": word, "add_special_tokens": False})[1]["tokens"][0]
    refused(server, COMPLETIONS, {"prompt": "a", "max_tokens": 4, "allowed_token_ids": [token], "bad_words": [word]}, "no token to choose")
    status, reply = server.request(COMPLETIONS, {"prompt": "a", "max_tokens": 4, "structured_outputs": {"grammar": "root ::= root"}})
    assert status == 400 and "grammar" in reply["error"]["message"]
    still_well(server)


@pytest.mark.parametrize("grammar", [
    {"regex": "((a{1,1000}){1,1000}){1,1000}"}, {"regex": "(a*)*(a*)*(a*)*b" * 50}, {"regex": "(" * 50_000},
    {"grammar": "root ::= " + "(" * 50_000}, {"grammar": "root ::= root"}, {"grammar": "root ::= a\na ::= b\nb ::= a"},
    {"choice": ["x" * 1000] * 20_000}, {"json": {"$ref": "#"}}, {"json": {"$ref": "http://127.0.0.1:9/schema"}},
    {"json": {"type": "string", "pattern": "(a|a)*" * 200, "maxLength": 10**9}},
    {"json": {"type": "array", "minItems": 10**9, "items": {"type": "array", "minItems": 10**9}}}],
    ids=["nested counts", "stars of stars", "open brackets", "open brackets of a grammar", "a rule of itself", "rules in a ring",
         "choices", "a schema of itself", "a schema elsewhere", "a pattern", "huge arrays"])
def test_grammar_bombs_cost_bounded_time_and_memory(server, grammar):
    before = server.memory_kib()
    started = time.time()
    status, reply = server.request(COMPLETIONS, {"prompt": "a", "max_tokens": 2, "structured_outputs": grammar})
    assert status in (200, 400), reply
    assert time.time() - started < 30
    assert server.memory_kib() - before < 1024 * 1024
    still_well(server)


def test_templates_do_not_come_with_requests(server):
    refused(server, CHAT, {"messages": USER, "chat_template": "{{ messages }}"}, "--trust-request-chat-template")
    loop = "{% for a in range(99999999) %}{% for b in range(99999999) %}x{% endfor %}{% endfor %}"
    for kwargs in [{"messages": []}, {"add_generation_prompt": loop}, {"bos_token": loop}, {"raise_exception": 1}, {"range": "x"},
                   {"x" * 100_000: "y"}, {"tools": "{{ 1 }}"}]:
        status, reply = server.request(CHAT, {"messages": USER, "max_tokens": 1, "chat_template_kwargs": kwargs})
        assert status in (200, 400), (kwargs, reply)
    still_well(server)


def test_no_field_makes_the_server_fetch_anything(server):
    asked = []
    with socket.socket() as trap:
        trap.bind(("127.0.0.1", 0))
        trap.listen()
        trap.settimeout(0.2)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x.png"
        parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
                 {"type": "input_audio", "input_audio": {"data": url}}, {"type": "video_url", "video_url": {"url": url}},
                 {"type": "file", "file": {"file_data": url}}, {"type": "input_image", "image_url": url}]
        for part in parts:
            status, reply = server.request(CHAT, {"messages": [{"role": "user", "content": [part]}]})
            assert status == 400 and "text only" in reply["error"]["message"], reply
        for path, body in [("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]}),
                           ("/v1/responses", {"input": "a", "tools": [{"type": "mcp", "server_label": "x", "server_url": url}]}),
                           ("/v1/messages", {"max_tokens": 4, "messages": [{"role": "user", "content": [
                               {"type": "image", "source": {"type": "url", "url": url}}]}]}),
                           ("/v1/messages", {"max_tokens": 4, "messages": USER, "mcp_servers": [{"type": "url", "url": url, "name": "x"}]}),
                           (CHAT, {"messages": USER, "web_search_options": {}}),
                           (COMPLETIONS, {"prompt": "a", "structured_outputs": {"json": {"$ref": url}}}),
                           (COMPLETIONS, {"prompt": "a", "kv_transfer_params": {"remote_host": "127.0.0.1", "remote_port": 1}})]:
            assert server.request(path, body)[0] == 400, (path, body)
        try:
            asked.append(trap.accept())
        except TimeoutError:
            pass
    assert not asked


# --- connections

def test_hundreds_of_connections_of_one_client_keep_nobody_out(server):
    before = server.memory_kib()
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(700)]
    for i, s in enumerate(idle):
        s.sendall([b"", b"GET", b"POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n{"][i % 3])
    still_well(server)
    assert server.memory_kib() - before < 16 * 1024
    for s in idle:
        s.close()
    deadline = time.time() + 10
    while server.descriptors() > 300 and time.time() < deadline:
        time.sleep(0.02)
    assert server.descriptors() < 300
