"""The program from a shell: the commands beside `serve`, config files, pasted vLLM command lines, the benchmarks."""
import json
import os
import re
import shutil
import subprocess

from conftest import BIN, MODEL, Server


def octavo(*args, env=None, code=0):
    """Standard output and error of one run that must end with `code`."""
    run = subprocess.run([str(BIN), *map(str, args)], capture_output=True, text=True, timeout=120,
                         env={**os.environ, **(env or {})})
    assert run.returncode == code, run.stderr
    return run.stdout, run.stderr


def test_version_and_help_are_one_word_away():
    assert re.fullmatch(r"octavo \d+\.\d+\.\d+\n", octavo("--version")[0])
    assert "serve" in octavo("--help")[0]
    help_text = octavo("serve", "--help")[0]
    assert all(group in help_text for group in ("Server:", "Model:", "KV cache:", "Scheduler:", "Device:"))
    assert "--port" not in octavo("serve", "--help=prefix")[0]


def test_env_tells_of_the_machine():
    report = octavo("env")[0]
    assert all(f"{name}:" in report for name in ("octavo", "compiler", "system", "cpu", "cores", "memory"))
    assert "gpu" in report


def test_a_mistake_is_one_line_and_exit_code_2():
    for words in (["srve"], ["serve", "--port", "x"], ["bench", "nothing"], ["launch"]):
        out, err = octavo(*words, code=2)
        assert out == "" and err.startswith("octavo: ")


def test_a_config_file_fills_flags_and_the_command_line_wins(tmp_path):
    config = tmp_path / "octavo.yaml"
    config.write_text("port: 1\nserved-model-name: from-file\nenable-prefix-caching: false\n")
    with Server("--config", config) as server:
        assert server.model == "from-file"


def test_a_pasted_vllm_command_line_serves():
    with Server("-tp", "1", "--trust-remote-code", "--enforce-eager", "--gpu_memory_utilization=0.9",
                "--served_model_name", "pasted") as server:
        assert server.model == "pasted"
        assert "-tp 1 changes nothing in octavo" in server.read_log()


def test_a_model_is_found_in_the_hugging_face_cache(tmp_path):
    repository = tmp_path / "hub" / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abc")
    (repository / "snapshots").mkdir()
    shutil.copytree(MODEL, repository / "snapshots" / "0123abc")
    with Server(model="someone/tiny", env={"HF_HOME": str(tmp_path), "HF_HUB_CACHE": ""}) as server:
        assert server.model == "someone/tiny"


def test_bench_serve_measures_with_text_chat_and_ids(server, tmp_path):
    shape = ["--base-url", server.url, "--num-prompts", 12, "--random-input-len", 24, "--random-output-len", 8,
             "--random-range-ratio", 0.25, "--max-concurrency", 4, "--temperature", 0, "--save-result",
             "--result-dir", tmp_path]
    for name, more in (("text", []), ("chat", ["--backend", "openai-chat"]), ("ids", ["--prompt-ids"])):
        table, _ = octavo("bench", "serve", *shape, *more, "--result-filename", f"{name}.json")
        assert re.search(r"Successful requests: +12 ", table), table
        result = json.loads((tmp_path / f"{name}.json").read_text())
        assert result["completed"] == 12 and result["failed"] == 0
        assert 12 * 6 <= result["total_output_tokens"] <= 12 * 10
        assert 0 < result["mean_ttft_ms"] and 0 < result["p99_itl_ms"]


def test_bench_serve_without_a_server_says_so():
    assert "cannot connect" in octavo("bench", "serve", "--base-url", "http://127.0.0.1:9", code=1)[1]


def test_bench_latency_and_throughput_run_in_process(tmp_path):
    file = tmp_path / "latency.json"
    out, _ = octavo("bench", "latency", MODEL, "--batch-size", 2, "--output-len", 8, "--num-iters", 2,
                    "--num-iters-warmup", 1, "--output-json", file)
    assert "Avg latency: " in out and "Prefill: " in out and "Decode: " in out
    result = json.loads(file.read_text())
    assert len(result["latencies"]) == 2 and result["engine_cpu_seconds_per_step"] > 0
    out, _ = octavo("bench", "throughput", MODEL, "--num-prompts", 5, "--input-len", 8, "--output-len", 4)
    assert re.search(r"Throughput: [\d.]+ requests/s", out)
    assert "Total num output tokens:  20" in out
