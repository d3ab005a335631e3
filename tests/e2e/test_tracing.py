"""Traces: what a collector gets of the requests that the real program serves."""
import http.client
import json
import os
import re
import subprocess
import urllib.request

import pytest
from certificates import make_certificate
from conftest import BIN, MODEL, Server, free_port
from stand_in_collector import StandInCollector, attributes

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "rojo=1,congo=t61"}
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "30"}
SERVER_KIND, ERROR_STATUS = 2, 2
LATENCIES = ["time_in_queue", "time_to_first_token", "time_in_model_prefill", "time_in_model_decode",
             "time_in_model_inference", "e2e"]


@pytest.fixture(scope="module")
def collector():
    with StandInCollector() as c:
        yield c


@pytest.fixture(scope="module")
def traced(collector):
    with Server("--otlp-traces-endpoint", collector.url, "--served-model-name", "tiny",
                env={**SOON, "OTEL_SERVICE_NAME": "front", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b",
                     "OTEL_RESOURCE_ATTRIBUTES": "zone=eu"}) as s:
        yield s


def complete(server, headers=None, **fields):
    status, answer = server.request("/v1/completions", {"model": "tiny", "prompt": "The capital of France is",
                                                        "max_tokens": 5, "ignore_eos": True, **fields}, headers=headers)
    assert status == 200, answer
    return answer


def spans_dropped(server, reason):
    return server.metrics()[f'octavo:trace_spans_dropped_total{{reason="{reason}"}}']


def test_a_span_says_what_was_asked_and_what_it_took(traced, collector):
    answer = complete(traced, temperature=0.5, top_p=0.75, n=2)
    span = collector.span_of(answer["id"])
    assert span.name == "llm_request" and span.kind == SERVER_KIND and span.status.code == 0
    found = attributes(span)
    assert {k: v for k, v in found.items() if not k.startswith("gen_ai.latency")} == {
        "gen_ai.request.id": answer["id"], "gen_ai.response.model": "tiny", "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.75, "gen_ai.request.n": 2, "gen_ai.request.max_tokens": 5,
        "gen_ai.usage.prompt_tokens": answer["usage"]["prompt_tokens"], "gen_ai.usage.completion_tokens": 10,
        "gen_ai.response.finish_reasons": ["length", "length"]}
    assert sorted(k for k in found if k.startswith("gen_ai.latency")) == sorted("gen_ai.latency." + x for x in LATENCIES)


def test_the_times_of_a_span_agree(traced, collector):
    span = collector.span_of(complete(traced, max_tokens=20)["id"])
    found = attributes(span)
    queue, first, prefill, decode, inference, whole = [found["gen_ai.latency." + x] for x in LATENCIES]
    assert 0 <= queue <= first <= whole and 0 < prefill <= first and 0 < decode < inference <= whole
    assert first == pytest.approx(queue + prefill, abs=1e-6)
    assert whole == pytest.approx(queue + inference, abs=1e-6)
    assert [e.name for e in span.events] == ["scheduled", "first_token"]
    scheduled, first_token = [e.time_unix_nano for e in span.events]
    assert span.start_time_unix_nano <= scheduled < first_token < span.end_time_unix_nano
    assert (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 == pytest.approx(whole, abs=1e-3)


def test_the_resource_and_the_request_are_as_the_environment_says(traced, collector):
    complete(traced)
    path, headers, message = collector.wait(lambda: collector.requests)[-1]
    assert path == "/v1/traces"
    assert headers["Content-Type"] == "application/x-protobuf" and headers["x-key"] == "a b"
    resource = attributes(message.resource_spans[0].resource)
    assert resource["service.name"] == "front" and resource["zone"] == "eu"
    assert resource["process.pid"] == traced.process.pid
    assert message.resource_spans[0].scope_spans[0].scope.name == "octavo"


def test_a_trace_that_the_client_began_goes_on(traced, collector):
    span = collector.span_of(complete(traced, TRACEPARENT)["id"])
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (TRACE, PARENT, "rojo=1,congo=t61")
    assert span.flags == 0x301  # sampled, and the parent is known to be elsewhere
    assert len(span.span_id) == 8 and span.span_id.hex() != PARENT


def test_a_trace_begins_here_where_the_client_began_none(traced, collector):
    spans = [collector.span_of(complete(traced, headers)["id"]) for headers in
             [None, None, {"traceparent": f"00-{TRACE}-{PARENT}"}, {"traceparent": f"00-{TRACE.upper()}-{PARENT}-01"},
              {"traceparent": "\u00ff" * 55}]]
    for span in spans:
        assert len(span.trace_id) == 16 and span.trace_id.hex() != TRACE and not span.parent_span_id
        assert span.flags == 0x101 and not span.trace_state
    assert len({s.trace_id for s in spans}) == len({s.span_id for s in spans}) == len(spans)


def test_states_in_several_headers_are_joined_and_two_parents_are_none(traced, collector):
    def span(*headers):
        connection = http.client.HTTPConnection("127.0.0.1", traced.port, timeout=60)
        connection.putrequest("POST", "/v1/completions")
        body = json.dumps({"model": "tiny", "prompt": "Once", "max_tokens": 1}).encode()
        for name, value in [*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]:
            connection.putheader(name, value)
        connection.endheaders(body)
        return collector.span_of(json.loads(connection.getresponse().read())["id"])
    parent = ("Traceparent", TRACEPARENT["traceparent"])
    assert span(("tracestate", "a=1"), parent, ("TraceState", "b=2")).trace_state == "a=1,b=2"
    lonely = span(parent, parent, ("tracestate", "a=1"))
    assert not lonely.parent_span_id and not lonely.trace_state


def test_the_clients_wish_not_to_be_sampled_is_kept(traced, collector):
    before = len(collector.spans)
    unwanted = complete(traced, {"traceparent": f"00-{TRACE}-{PARENT}-00"})["id"]
    collector.span_of(complete(traced)["id"])  # which ended later
    assert unwanted not in [attributes(s)["gen_ai.request.id"] for s in collector.spans[before:]]


def test_streams_chats_and_several_prompts_have_spans(traced, collector):
    chunks = list(traced.client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Hi"}], max_tokens=7, stream=True,
        extra_body={"ignore_eos": True}, extra_headers={**TRACEPARENT, "X-Request-Id": "mine"}))
    assert chunks[0].id == "chatcmpl-mine"
    span = collector.span_of("chatcmpl-mine")
    assert span.parent_span_id.hex() == PARENT and attributes(span)["gen_ai.usage.completion_tokens"] == 7
    answer = complete(traced, TRACEPARENT, prompt=["One", "One two three"], max_tokens=2)
    one, two = sorted(collector.spans_of(answer["id"], 2), key=lambda s: attributes(s)["gen_ai.usage.prompt_tokens"])
    assert one.trace_id == two.trace_id and one.parent_span_id == two.parent_span_id and one.span_id != two.span_id


@pytest.mark.parametrize("path, body", [
    ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}),
    ("/v1/responses", {"input": "Hi", "max_output_tokens": 4}),
    ("/inference/v1/generate", {"token_ids": [1, 2, 3], "sampling_params": {"max_tokens": 4}}),
])
def test_every_dialect_has_spans_under_the_id_that_its_client_sees(traced, collector, path, body):
    status, answer = traced.request(path, {"model": "tiny", **body}, headers=TRACEPARENT)
    assert status == 200, answer
    span = collector.span_of(answer.get("id") or answer["request_id"])
    assert span.trace_id.hex() == TRACE and attributes(span)["gen_ai.request.max_tokens"] == 4


def test_a_refused_request_has_a_span_with_the_reason(traced, collector):
    status, answer = traced.request("/v1/completions", {"model": "tiny", "prompt": [5] * 5000, "max_tokens": 1},
                                    headers={"X-Request-Id": "too-long", **TRACEPARENT})
    assert status == 400
    span = collector.span_of("cmpl-too-long")
    assert span.status.code == ERROR_STATUS and span.status.message == answer["error"]["message"]
    found = attributes(span)
    assert found["error.type"] == "invalid_argument" and found["gen_ai.usage.completion_tokens"] == 0
    assert found["gen_ai.response.finish_reasons"] == ["error"] and not span.events


def test_a_client_that_leaves_ends_its_span(traced, collector):
    request = urllib.request.Request(
        traced.url + "/v1/completions", headers={"Content-Type": "application/json", "X-Request-Id": "gone"},
        data=json.dumps({"model": "tiny", "prompt": "Once", "max_tokens": 1500, "stream": True, "ignore_eos": True}).encode())
    with urllib.request.urlopen(request) as reply:
        reply.readline()
    span = collector.span_of("cmpl-gone")
    found = attributes(span)
    assert found["gen_ai.response.finish_reasons"] == ["abort"] and span.status.code == 0
    assert 0 < found["gen_ai.usage.completion_tokens"] < 1500


def test_ids_that_are_no_text_do_not_spoil_a_batch(traced, collector):
    complete(traced, {"X-Request-Id": "\u00e9" * 300})
    ids = lambda: [attributes(s)["gen_ai.request.id"] for s in collector.spans]
    found = collector.wait(lambda: [i for i in ids() if "\ufffd" in i])
    assert len(found[0]) == 256


@pytest.mark.parametrize("status, headers", [(503, {}), (429, {"Retry-After": "1"})])
def test_spans_are_sent_again_when_the_collector_is_busy(traced, collector, status, headers):
    before = traced.metrics()
    attempts = len(collector.requests)
    collector.answers = [(status, headers)]
    collector.span_of(complete(traced)["id"])
    assert len(collector.requests) == attempts + 2
    assert collector.requests[-1][2] == collector.requests[-2][2]
    collector.wait(lambda: traced.metrics()["octavo:trace_spans_exported_total"] ==
                   before["octavo:trace_spans_exported_total"] + 1)
    assert spans_dropped(traced, "export_failed") == before['octavo:trace_spans_dropped_total{reason="export_failed"}']


def test_spans_that_the_collector_refuses_or_rejects_are_counted(traced, collector):
    before = spans_dropped(traced, "export_failed")
    collector.answers = [(400, {})]
    complete(traced)
    collector.wait(lambda: spans_dropped(traced, "export_failed") == before + 1)
    collector.reject = 1
    complete(traced)
    collector.wait(lambda: spans_dropped(traced, "export_failed") == before + 2)
    collector.span_of(complete(traced)["id"])


def test_a_collector_that_is_dead_costs_spans_and_one_line():
    with Server("--otlp-traces-endpoint", f"http://127.0.0.1:{free_port()}/v1/traces?key=secret",
                env={**SOON, "OTEL_BSP_MAX_QUEUE_SIZE": "4"}) as server:
        for _ in range(20):
            complete(server, model=server.model)
        assert spans_dropped(server, "queue_full") > 0
        assert server.metrics()["octavo:trace_spans_exported_total"] == 0
        server.stop()
        warnings = re.findall(r"WARNING .*\[traces\].*", server.read_log())
        assert len(warnings) == 1 and "Connection refused" in warnings[0]
        assert "secret" not in server.read_log()


def test_a_collector_that_hangs_delays_no_request_and_no_end():
    with StandInCollector() as collector:
        collector.open.clear()
        with Server("--otlp-traces-endpoint", collector.url, env=SOON) as server:
            complete(server, model=server.model)
            collector.wait(lambda: collector.requests)
            for _ in range(10):
                complete(server, model=server.model)
            assert len(collector.requests) == 1 and not collector.spans
            assert server.stop(timeout=15) == 0


def test_what_waits_is_sent_at_the_end():
    with StandInCollector() as collector:
        with Server("--otlp-traces-endpoint", collector.url, env={"OTEL_BSP_SCHEDULE_DELAY": "600000"}) as server:
            ids = [complete(server, model=server.model)["id"] for _ in range(3)]
            assert not collector.requests
            assert server.stop() == 0
        assert len(collector.requests) == 1
        assert [attributes(s)["gen_ai.request.id"] for s in collector.spans] == ids


def test_an_engine_process_and_https_change_nothing(tmp_path):
    certificate, both = make_certificate(tmp_path)
    with StandInCollector(certificate=both) as collector:
        with Server("--otlp-traces-endpoint", collector.url, "--engine-process",
                    env={**SOON, "SSL_CERT_FILE": str(certificate)}) as server:
            span = collector.span_of(complete(server, TRACEPARENT, model=server.model, max_tokens=20)["id"])
    found = attributes(span)
    queue, first, prefill, decode, inference, whole = [found["gen_ai.latency." + x] for x in LATENCIES]
    assert 0 <= queue <= first <= whole and 0 < prefill <= first and 0 < decode < inference <= whole
    assert span.parent_span_id.hex() == PARENT


def test_a_share_of_the_traces_is_kept_by_their_ids():
    with StandInCollector() as collector:
        with Server("--otlp-traces-endpoint", collector.url,
                    env={**SOON, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}) as server:
            low, high = "1" * 16 + "7" + "0" * 15, "1" * 16 + "9" + "0" * 15
            for trace in (low, high):
                complete(server, {"traceparent": f"00-{trace}-{PARENT}-01"}, model=server.model)
            server.stop()
        assert [s.trace_id.hex() for s in collector.spans] == [low]


@pytest.mark.parametrize("endpoint, env, message", [
    ("grpc://localhost:4317", {}, "not gRPC"),
    ("ftp://localhost", {}, "http://"),
    ("http://localhost:4318", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "http/protobuf"),
    ("http://localhost:4318", {"OTEL_TRACES_SAMPLER": "often"}, "OTEL_TRACES_SAMPLER"),
])
def test_what_cannot_be_done_is_said_at_the_start(endpoint, env, message):
    ended = subprocess.run([BIN, "serve", MODEL, "--otlp-traces-endpoint", endpoint], env={**os.environ, **env},
                           capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2 and message in ended.stderr
