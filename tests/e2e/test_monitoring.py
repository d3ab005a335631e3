"""/metrics as a strict reader of Prometheus' text format sees it, vLLM's names in it, and the dashboard and alerts in
examples/monitoring, which may speak only of metrics that exist."""
import json
import math
import os
import re
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from conftest import MODEL, ROOT, Server, free_port

EXAMPLES = ROOT / "examples" / "monitoring"
NAME = 'quotes " and \\ slashes'

METRIC = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({METRIC})(?:{{((?:{LABEL})(?:,{LABEL})*)}})? (\S+)")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|Inf)|NaN")

Family = namedtuple("Family", "kind help samples")  # samples: [(name, {label: value}, number)]


def unescape(text):
    return re.sub(r'\\(["\\n])', lambda m: {"n": "\n"}.get(m[1], m[1]), text)


def take_comment(line, families):
    word, name, rest = re.fullmatch(rf"# (HELP|TYPE) ({METRIC}) (.+)", line).groups()
    if word == "HELP":
        assert name not in families, f"{name} has two HELP lines, or its samples are torn apart"
        assert not re.search(r"\\(?![\\n])", rest), line
        families[name] = Family([], rest, [])
    else:
        assert list(families)[-1] == name and not families[name].kind, line
        assert rest in ("counter", "gauge", "histogram"), line
        families[name].kind.append(rest)


def take_sample(line, families):
    found = SAMPLE.fullmatch(line)
    assert found and NUMBER.fullmatch(found[7]), f"no sample: {line!r}"
    labels = [(name, unescape(value)) for name, value in re.findall(LABEL, found[2] or "")]
    assert len(dict(labels)) == len(labels), f"a label twice: {line}"
    name, family = list(families.items())[-1]
    suffixes = ["_bucket", "_count", "_sum"] if family.kind == ["histogram"] else [""]
    assert found[1] in [name + s for s in suffixes], f"{line!r} stands among the samples of {name}"
    family.samples.append((found[1], dict(labels), float(found[7])))


def parse(text):
    """{name: Family}; raises where the text breaks a rule of the exposition format, version 0.0.4."""
    assert text.endswith("\n")
    families = {}
    for line in text[:-1].split("\n"):
        (take_comment if line.startswith("#") else take_sample)(line, families)
    return {name: f._replace(kind=f.kind[0]) for name, f in families.items()}


def series_of(family, without=()):
    return [(name, *sorted((k, v) for k, v in labels.items() if k not in without)) for name, labels, _ in family.samples]


def check_histogram(name, family):
    groups = {}
    for sample, labels, value in family.samples:
        key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        groups.setdefault(key, {"_bucket": [], "_count": [], "_sum": []})[sample[len(name):]].append((labels.get("le"), value))
    for key, group in groups.items():
        bounds = [float(le) for le, _ in group["_bucket"]]
        counts = [value for _, value in group["_bucket"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == math.inf, (name, key)
        assert counts == sorted(counts) and counts[0] >= 0, (name, key)
        assert [v for _, v in group["_count"]] == [counts[-1]], (name, key)
        (_, total), = group["_sum"]
        assert total >= 0 and (total == 0 or counts[-1] > 0), (name, key)


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A server with everything on that has metrics of its own, after some requests of each kind."""
    odd = tmp_path_factory.mktemp("models") / "model"
    odd.symlink_to(MODEL)
    with Server("--served-model-name", NAME, "--otlp-traces-endpoint", f"http://127.0.0.1:{free_port()}", model=odd) as s:
        for stream in (False, True):
            reply = s.client.completions.create(model=NAME, prompt="The capital of France is " * 10, max_tokens=8, stream=stream)
            assert list(reply)
        assert s.request("/v1/completions", {"model": "another", "prompt": "x"})[0] == 404
        assert s.request("/no/such/path")[0] == 404
        s.wait_idle()
        yield s


@pytest.fixture(scope="module")
def families(busy):
    return parse(busy.request("/metrics")[1])


def test_metrics_keep_every_rule_of_the_format(families):
    for name, family in families.items():
        assert family.help.strip(), name
        assert len(set(series_of(family))) == len(family.samples), f"{name}: a series twice"
        if family.kind == "counter":
            assert name.endswith("_total") and all(v >= 0 for _, _, v in family.samples), name
        if family.kind == "histogram":
            check_histogram(name, family)


def test_the_tokens_of_steps_are_those_of_prompts_and_answers_together(families):
    def value(name, sample):
        return next(v for s, _, v in families[f"vllm:{name}"].samples if s == f"vllm:{sample}")
    prompts, answers = (value(name, name) for name in ("prompt_tokens_total", "generation_tokens_total"))
    assert prompts > answers > 0
    assert value("iteration_tokens_total", "iteration_tokens_total_sum") == prompts + answers


def test_labels_carry_the_served_name_whatever_is_in_it(families):
    for name, family in families.items():
        for sample, labels, _ in family.samples:
            if name.startswith("vllm:"):
                assert labels["model_name"] == NAME and labels["engine"] == "0", sample


def test_counters_only_grow_while_requests_run(busy):
    def scrape():
        return {(s, *sorted(labels.items())): value for f in parse(busy.request("/metrics")[1]).values()
                if f.kind != "gauge" for s, labels, value in f.samples}
    before = scrape()
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(busy.client.completions.create, model=NAME, prompt=f"{i} and", max_tokens=30) for i in range(12)]
        while not all(w.done() for w in work):
            now = scrape()
            assert before.keys() <= now.keys() and all(now[k] >= v for k, v in before.items())
            before = now
        assert all(w.result() for w in work)


# vLLM 0.26's metrics, without the suffixes of histograms.
VLLM = """num_requests_running num_requests_waiting num_requests_waiting_by_reason kv_cache_usage_perc cache_config_info
prompt_tokens_total prompt_tokens_by_source_total prompt_tokens_cached_total generation_tokens_total request_success_total
num_preemptions_total prefix_cache_queries_total prefix_cache_hits_total time_to_first_token_seconds
inter_token_latency_seconds request_time_per_output_token_seconds e2e_request_latency_seconds request_queue_time_seconds
request_inference_time_seconds request_prefill_time_seconds request_decode_time_seconds request_prompt_tokens
request_generation_tokens request_max_num_generation_tokens request_params_n request_params_max_tokens
request_prefill_kv_computed_tokens iteration_tokens_total""".split()
# What vLLM has beyond that, and why it is absent here. docs/monitoring.md tells users.
ABSENT = {
    "engine_sleep_state": "there is no sleep mode",
    "lora_requests_info": "there is no LoRA",
    "external_prefix_cache_queries_total": "there is no KV transfer", "external_prefix_cache_hits_total": "there is no KV transfer",
    "mm_cache_queries_total": "text alone is taken", "mm_cache_hits_total": "text alone is taken",
    "corrupted_requests_total": "a step whose logits are not finite fails its requests",
    "spec_decode_num_drafts_total": "there is no speculative decoding",
    "spec_decode_num_draft_tokens_total": "there is no speculative decoding",
    "spec_decode_num_accepted_tokens_total": "there is no speculative decoding",
    "spec_decode_num_accepted_tokens_per_pos_total": "there is no speculative decoding",
    "tool_call_parser_invocations_total": "it counts calls of a function of vLLM's",
}


def test_vllms_metrics_are_there_or_absent_for_a_reason(families):
    ours = {name.removeprefix("vllm:") for name in families if name.startswith("vllm:")}
    assert ours == set(VLLM)
    told = (ROOT / "docs" / "monitoring.md").read_text()
    for name in ABSENT:
        assert name not in ours and name.removesuffix("_total") in told, name


def test_the_process_is_described_as_prometheus_clients_do(busy, families):
    value = {name: f.samples[0][2] for name, f in families.items() if name.startswith("process_")}
    assert value["process_open_fds"] == pytest.approx(busy.descriptors(), abs=8) and value["process_max_fds"] > 100
    assert value["process_resident_memory_bytes"] / 1024 == pytest.approx(busy.memory_kib(), rel=0.2)
    assert value["process_virtual_memory_bytes"] > value["process_resident_memory_bytes"]
    assert value["process_cpu_seconds_total"] > 0
    started = os.stat(f"/proc/{busy.process.pid}").st_ctime
    assert value["process_start_time_seconds"] == pytest.approx(started, abs=10)


def metrics_in(expression):
    """The metrics that a PromQL expression reads."""
    bare = re.sub(r'"(\\.|[^"\\])*"', '""', expression)
    bare = re.sub(r"\b(by|without)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"{[^}]*}|\[[^\]]*\]", "", bare)
    words = re.findall(rf"(?<![\w:$.]){METRIC}(?![\w:]|\s*\()", bare)
    return {w for w in words if w not in ("and", "or", "unless", "model_name", "instance")}


def labels_in(expression):
    """{metric: labels that the expression selects or groups it by}."""
    grouped = {l.strip() for found in re.findall(r"\bby\s*\(([^)]*)\)", expression) for l in found.split(",")}
    return {metric: {l for l in re.findall(r"(\w+)\s*=~?", selector)} | grouped
            for metric, selector in re.findall(rf"({METRIC}){{([^}}]*)}}", expression)}


def dashboard():
    return json.loads((EXAMPLES / "grafana-octavo.json").read_text())


def panels():
    return [p for p in dashboard()["panels"] if p["type"] != "row"]


def expressions():
    found = [(p["title"], t["expr"]) for p in panels() for t in p["targets"]]
    found += [(v["name"], v["definition"]) for v in dashboard()["templating"]["list"] if v["type"] == "query"]
    rules = yaml.safe_load((EXAMPLES / "octavo-alerts.yml").read_text())
    return found + [(r["alert"], r["expr"]) for g in rules["groups"] for r in g["rules"]]


def test_dashboard_and_alerts_ask_for_what_exists(families):
    samples = {}
    for family in families.values():
        for sample, labels, _ in family.samples:
            samples.setdefault(sample, set()).update(labels)
    assert len(expressions()) > 30
    for title, expression in expressions():
        names = metrics_in(expression) - {"up"}  # Prometheus' own
        assert names <= samples.keys(), (title, expression)
        assert names or "up" in expression
        for metric, labels in labels_in(expression).items():
            assert labels <= samples.get(metric, labels) | {"instance", "job"}, (title, metric, labels)


def test_the_dashboard_shows_every_histogram_of_latency(families):
    shown = set().union(*(metrics_in(e) for _, e in expressions()))
    for name in ("time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds",
                 "request_queue_time_seconds"):
        assert f"vllm:{name}_bucket" in shown
    for name in ("vllm:kv_cache_usage_perc", "vllm:num_preemptions_total", "vllm:prefix_cache_hits_total",
                 "http_requests_total", "process_cpu_seconds_total", "process_resident_memory_bytes"):
        assert name in shown


def test_grafana_can_import_the_dashboard():
    board = dashboard()
    assert board["id"] is None and board["uid"] and board["title"] and board["schemaVersion"] >= 36
    assert {"time", "templating", "annotations", "refresh", "version"} <= board.keys()
    variables = {v["name"]: v for v in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    ids = [p["id"] for p in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["title"] and panel["type"] in {r["id"] for r in board["__requires"]}
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])
        for part in [panel, *panel["targets"]]:
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables.keys() | {"__rate_interval"}


def test_panels_stand_beside_each_other_and_not_on_top():
    taken = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_prometheus_is_told_where_the_metrics_are():
    config = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text())
    job, = config["scrape_configs"]
    assert job["metrics_path"] == "/metrics" and job["static_configs"][0]["targets"]
    assert [(EXAMPLES / f).exists() for f in config["rule_files"]] == [True]


@pytest.mark.parametrize("broken", [
    "# HELP a_total b\n# TYPE a_total counter\na_total 1",
    "# HELP a_total b\n# TYPE a_total counter\nb_total 1\n",
    '# HELP a b\n# TYPE a gauge\na{x="1",x="2"} 1\n',
    '# HELP a b\n# TYPE a gauge\na{x="\\t"} 1\n',
    '# HELP a b\n# TYPE a gauge\na{x="1",} 1\n',
    "# HELP a b\n# TYPE a gauge\na one\n",
    "# HELP a b\n# TYPE a gauge\na 1\n# HELP a b\n",
    "# HELP a b\n# TYPE a summary\na 1\n",
])
def test_the_reader_above_is_strict(broken):
    with pytest.raises((AssertionError, AttributeError)):
        parse(broken)
