"""/openapi.json is true: schemathesis makes requests from it, right and wrong ones, and holds the answers against it.

--long asks more, for ten minutes."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Server

CHECKS = ("not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
          "negative_data_rejection")


@pytest.fixture(scope="module")
def server():
    with_everything = {"VLLM_SERVER_DEV_MODE": "1"}
    server = Server("--served-model-name", "octavo-tiny", "--max-model-len", "256", "--enable-tokenizer-info-endpoint",
                    "--enable-per-request-metrics", "--log-level", "warning", env=with_everything)
    yield server
    server.stop()


def test_every_request_that_the_description_allows_gets_an_answer_that_it_describes(server, tmp_path, request):
    long = request.config.getoption("--long")
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", server.url + "/openapi.json",
               "--checks", CHECKS, "--phases", "coverage,fuzzing", "--seed", "1", "--generation-database", "none",
               "--max-examples", "400" if long else "5", "--no-shrink", "--no-color", "--warnings", "off",
               "--request-timeout", "30", "--report-dir", str(tmp_path)]
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, env={**os.environ, **hooks}, cwd=tmp_path, capture_output=True, text=True,
                          timeout=1200 if long else 240)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert server.wait_idle()
    assert server.process.poll() is None
