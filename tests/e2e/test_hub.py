"""Models by their names: `octavo pull`, `list` and every command that takes a model, against a hub on the loopback that
cuts, damages and refuses. The cache must be huggingface_hub's to the letter."""
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from certificates import make_certificate
from conftest import BIN, MODEL, Server
from stand_in_hub import COMMIT, StandInHub, checksum

FILES = {file.name: file.read_bytes() for file in MODEL.iterdir()}
SHARDS = sorted(name for name in FILES if name.endswith(".safetensors"))
NEEDED = set(FILES) - {"README.md"}
# What repositories hold beside it, and nobody who serves a model needs.
JUNK = {"pytorch_model.bin": b"x" * 100, "model.onnx": b"x", "onnx/model.onnx": b"x", ".gitattributes": b"x",
        "original/consolidated.00.pth": b"x", "consolidated.safetensors": b"x", "tf_model.h5": b"x"}


@pytest.fixture
def hub():
    with StandInHub({**FILES, **JUNK}) as hub:
        yield hub


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def environment(hub, home, **more):
    return {"PATH": os.environ["PATH"], "HOME": str(home), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": hub.url, **more}


def octavo(hub, home, *args, code=0, **env):
    """Standard output of a run that must end with `code`; its standard error where that is not 0."""
    run = subprocess.run([str(BIN), *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
                         env=environment(hub, home, **env))
    assert run.returncode == code, (run.returncode, run.stdout.decode(), run.stderr.decode())
    return run.stderr.decode() if code else run.stdout.decode()


def pull(hub, home, *args, **more):
    return octavo(hub, home, "pull", "octavo/tiny", *args, **more)


def repository(home):
    return home / "hf" / "hub" / "models--octavo--tiny"


def assert_whole(home, files=None, revision="main", commit=COMMIT):
    """Every file that was needed, and nothing else, laid out as huggingface_hub lays it out."""
    root = repository(home)
    assert (root / "refs" / revision).read_text() == commit
    snapshot = root / "snapshots" / commit
    assert {p.name for p in snapshot.iterdir()} == NEEDED
    for name in NEEDED:
        data = (files or FILES)[name]
        assert os.readlink(snapshot / name) == f"../../blobs/{checksum(data)}"
        assert (snapshot / name).read_bytes() == data
    assert not list(root.glob("blobs/*.incomplete")) and not list(root.rglob("*.new"))


def test_a_model_is_fetched_by_its_name_once_and_only_what_is_needed(hub, home):
    ask = ["complete", "octavo/tiny", "-p", "What is the capital of Japan?", "--temperature", "0"]
    assert "Tokyo" in octavo(hub, home, *ask)
    assert_whole(home)
    assert {entry[2].rsplit("/", 1)[-1] for entry in hub.asked_for("resolve")} == NEEDED
    before = len(hub.log)
    assert "Tokyo" in octavo(hub, home, *ask)
    assert len(hub.log) == before


def test_pull_prints_the_folder_and_list_shows_the_model(hub, home):
    assert "no models" in octavo(hub, home, "list")
    assert pull(hub, home).strip() == str(repository(home) / "snapshots" / COMMIT)
    listed = octavo(hub, home, "list")
    assert re.search(rf"octavo/tiny +32 MB +{time.strftime('%Y')}-\d\d-\d\d\n", listed)


def test_serve_takes_a_name_and_serves_it_under_that_name(hub, home):
    with Server(model="octavo/tiny@main", env=environment(hub, home)) as server:
        assert server.model == "octavo/tiny"


def test_dummy_weights_need_no_weights_of_the_hub(hub, home):
    octavo(hub, home, "complete", "octavo/tiny", "--load-format", "dummy", "-p", "x", "--max-tokens", "1")
    assert not hub.asked_for("safetensors")
    assert "Rome" in octavo(hub, home, "complete", "octavo/tiny", "-p", "What is the capital of Italy?",
                            "--temperature", "0")


def test_a_connection_that_breaks_goes_on_where_it_broke(hub, home):
    hub.cut_after[SHARDS[0]] = [5_000_000, 1_000_000]
    hub.cut_after["tokenizer.json"] = [1000]
    pull(hub, home)
    assert_whole(home)
    ranges = [entry[3] for entry in hub.asked_for(SHARDS[0], host="cdn") if entry[1] == "GET"]
    assert ranges == [None, "bytes=5000000-", "bytes=6000000-"]


def test_a_server_without_ranges_sends_all_of_it_again(hub, home):
    hub.ranges = False
    hub.cut_after[SHARDS[1]] = [3_000_000]
    pull(hub, home)
    assert_whole(home)


def test_a_download_that_was_killed_goes_on(hub, home):
    hub.delay = 0.05
    first = subprocess.Popen([str(BIN), "pull", "octavo/tiny"], env=environment(hub, home), stderr=subprocess.DEVNULL)
    while hub.sent < 6_000_000:
        assert first.poll() is None
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert not (repository(home) / "refs" / "main").exists()
    partial = sum(f.stat().st_size for f in repository(home).glob("blobs/*.incomplete"))
    assert partial > 2_000_000
    hub.delay, sent_before, asked_before = 0, hub.sent, len(hub.log)
    pull(hub, home)
    assert_whole(home)
    resumed = [e for e in hub.log[asked_before:] if e[0] == "cdn" and e[1] == "GET" and e[3]]
    assert resumed and hub.sent - sent_before < sum(len(FILES[n]) for n in SHARDS) - partial + 1_000_000


def test_damaged_bytes_are_fetched_again_and_refused_the_second_time(hub, home):
    hub.damage = {SHARDS[0]: 1, "config.json": 1}
    pull(hub, home)
    assert_whole(home)


@pytest.mark.parametrize("name", ["config.json", "model-00001-of-00003.safetensors"])
def test_bytes_that_stay_wrong_are_never_kept(hub, home, name):
    hub.damage = {name: 99}
    error = pull(hub, home, code=1)
    assert name in error and "wrong checksum" in error
    assert not (repository(home) / "blobs" / checksum(FILES[name])).exists()
    assert not (repository(home) / "refs" / "main").exists()
    hub.damage = {}
    pull(hub, home)
    assert_whole(home)


def test_a_wrong_partial_file_is_no_trouble(hub, home):
    blobs = repository(home) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / (checksum(FILES[SHARDS[0]]) + ".incomplete")).write_bytes(b"another's bytes")
    (blobs / (checksum(FILES["config.json"]) + ".incomplete")).write_bytes(b"longer than the file" * 1000)
    pull(hub, home)
    assert_whole(home)


def test_two_at_once_fetch_each_file_once(hub, home):
    hub.delay = 0.01
    both = [subprocess.Popen([str(BIN), "pull", "octavo/tiny"], env=environment(hub, home), stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE) for _ in range(2)]
    for one in both:
        _, error = one.communicate(timeout=100)
        assert one.returncode == 0, error.decode()
    assert_whole(home)
    for shard in SHARDS:
        assert len([e for e in hub.asked_for(shard, host="cdn") if e[1] == "GET"]) == 1


def test_the_token_goes_to_the_hub_and_to_nobody_else(hub, home):
    hub.token = "hf_secret"
    error = pull(hub, home, code=1)
    assert "check the name; a private model needs HF_TOKEN" in error
    pull(hub, home, HF_TOKEN="hf_secret")
    asked = [e for e in hub.log if e[4]]
    assert asked and {e[0] for e in asked} == {"hub"} and hub.asked_for(".", host="cdn")
    assert "hf_secret" not in "".join(p.read_text() for p in (home / "hf").rglob("refs/*"))


def test_the_token_of_a_login_is_used_and_may_be_declined(hub, home):
    hub.token = "hf_secret"
    (home / "hf").mkdir(parents=True)
    (home / "hf" / "token").write_text("hf_secret\n")
    error = pull(hub, home, code=1, HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
    assert "HF_TOKEN" in error
    pull(hub, home)
    error = pull(hub, home, code=1, HF_TOKEN="hf_wrong")
    assert "that the account of HF_TOKEN may read it" in error


@pytest.mark.parametrize("refusal,words", [
    ((401, "GatedRepo"), ["accepts? its|accept its conditions", "/octavo/tiny", "HF_TOKEN"]),
    ((403, "GatedRepo"), ["accept its conditions"]),
    ((403, ""), ["does not show it \\(403\\)"]),
    ((404, "EntryNotFound"), ["no such file"]),
    ((429, ""), ["try later"]),
    ((500, ""), ["answered 500"])])
def test_a_refusal_says_what_to_do(hub, home, refusal, words):
    hub.refusal = refusal
    error = pull(hub, home, code=1)
    assert error.count("\n") == 1
    for word in words:
        assert re.search(word, error), error


def test_unknown_names_and_revisions_are_told_apart(hub, home):
    error = octavo(hub, home, "serve", "octavo/none", code=1)
    assert "model octavo/none: no such folder, and it is not in the cache" in error and "check the name" in error
    assert "no such revision" in pull(hub, home, "--revision", "v9", code=1)
    for wrong in ["../tiny", "a/b/c", "a--b/c", ".a/b", "a/..", "a/b@../x", "a/b@", "a/b@x//y", "a\nb/c"]:
        assert "is no " in octavo(hub, home, "pull", wrong, code=1)
    assert "names another" in octavo(hub, home, "pull", "octavo/tiny@a", "--revision", "b", code=1)
    assert all("none" in e[2] or "v9" in e[2] for e in hub.log)


def test_a_revision_is_a_branch_or_a_commit(hub, home):
    hub.revisions.add("refs/pr/1")
    pull(hub, home, "--revision", "refs/pr/1")
    assert_whole(home, revision="refs/pr/1")
    assert "Tokyo" in octavo(hub, home, "complete", f"octavo/tiny@{COMMIT}", "-p", "What is the capital of Japan?",
                             "--temperature", "0", HF_HUB_OFFLINE="1")


def test_pull_follows_the_branch_and_fetches_only_what_changed(hub, home):
    pull(hub, home)
    hub.commit = "deadbeef" * 5
    hub.files["config.json"] = FILES["config.json"] + b"\n"
    before = len(hub.log)
    pull(hub, home)
    assert_whole(home, files=hub.files, commit=hub.commit)
    fetched = [e[2] for e in hub.log[before:] if e[1] == "GET" and "api" not in e[2]]
    assert [path.rsplit("/", 1)[-1] for path in fetched] == ["config.json"]


def test_offline_nothing_is_asked(hub, home):
    error = octavo(hub, home, "serve", "octavo/tiny", code=1, HF_HUB_OFFLINE="1")
    assert "not in the cache" in error and "HF_HUB_OFFLINE" in error
    assert not hub.log
    pull(hub, home)
    asked = len(hub.log)
    assert octavo(hub, home, "complete", "octavo/tiny", "-p", "x", "--max-tokens", "1", HF_HUB_OFFLINE="1")
    assert len(hub.log) == asked
    assert "HF_HUB_OFFLINE" in pull(hub, home, code=1, HF_HUB_OFFLINE="true")


def test_a_snapshot_that_lacks_a_shard_is_completed(hub, home):
    pull(hub, home)
    (repository(home) / "snapshots" / COMMIT / SHARDS[1]).unlink()
    (repository(home) / "blobs" / checksum(FILES[SHARDS[1]])).unlink()
    assert "not whole" in octavo(hub, home, "list")
    assert octavo(hub, home, "complete", "octavo/tiny", "-p", "x", "--max-tokens", "1")
    assert_whole(home)


def test_a_hostile_hub_writes_nowhere_but_into_the_cache(hub, home):
    hub.listed = [*FILES, "../../../evil.json", "/tmp/octavo-evil", "..", "a/../../tokenizer.json"]
    pull(hub, home)
    assert_whole(home)
    hub.commit = "../../../evil"
    assert "no list of a model's files" in pull(hub, home, code=1)
    hub.commit = "e" * 40
    hub.etags["config.json"] = "../../evil"
    assert "neither size nor checksum of config.json" in pull(hub, home, code=1)
    del hub.etags["config.json"]
    hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": {"w": "../../../evil.safetensors"}}).encode()
    assert "lies in no plain file" in pull(hub, home, code=1)
    assert not [p for p in home.rglob("*evil*")]


def test_a_repository_without_safetensors_is_named_as_such(hub, home):
    hub.listed = ["config.json", "tokenizer.json", "pytorch_model.bin"]
    assert "no model.safetensors; octavo serves" in pull(hub, home, code=1)
    hub.listed = ["config.json", "tiny.gguf"]
    assert "only GGUF files" in pull(hub, home, code=1)
    hub.listed = ["README.md"]
    assert "no config.json" in pull(hub, home, code=1)


def test_a_hub_that_is_not_there_is_named(hub, home):
    assert "cannot connect to localhost:9" in pull(hub, home, code=1, HF_ENDPOINT="http://localhost:9")
    assert "cannot resolve" in pull(hub, home, code=1, HF_ENDPOINT="http://no.such.host.invalid")
    assert "HTTPS_PROXY is set, but octavo goes through no proxy" in pull(
        hub, home, code=1, HF_ENDPOINT="http://localhost:9", HTTPS_PROXY="http://proxy:3128")
    assert "HF_ENDPOINT" in pull(hub, home, code=1, HF_ENDPOINT="localhost")


def test_a_cache_that_cannot_be_written_is_named(hub, home, tmp_path):
    (tmp_path / "file").write_text("")
    error = pull(hub, home, "--download-dir", tmp_path / "file" / "cache", code=1)
    assert "cannot write" in error and "HF_HOME" in error


def test_a_full_disk_is_told_before_and_says_what_to_do(hub, home, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(small)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        error = pull(hub, home, "--download-dir", small, code=1)
        assert re.search(r"needs 0.0 GB more, and its disk has 0.0 GB; make room, or name another cache", error)
        # Full while it writes: another program was faster.
        (small / "filler").write_bytes(b"x" * 15_500_000)
        hub.files = {**FILES, "model.safetensors.index.json": b"{}"}
        error = pull(hub, home, "--download-dir", small, code=1)
        assert "disk" in error
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_progress_is_lines_where_there_is_no_terminal(hub, home):
    hub.delay = 0.01
    run = subprocess.run([str(BIN), "pull", "octavo/tiny"], env=environment(hub, home), capture_output=True,
                         timeout=100)
    error = run.stderr.decode()
    assert re.search(r"octavo: fetching octavo/tiny: [\d.]+ \wB of 3\d MB", error) and "\r" not in error
    assert re.search(r"octavo: octavo/tiny is here: \d+ files, 32 MB", error)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_https_checks_the_certificate_and_the_name(certificate, home):
    trusted, both = certificate
    with StandInHub(FILES, certificate=both) as hub:
        error = pull(hub, home, code=1)
        assert "its certificate is not accepted" in error and "SSL_CERT_FILE" in error
        error = pull(hub, home, code=1, SSL_CERT_FILE=str(trusted),
                     HF_ENDPOINT=hub.url.replace("localhost", "127.0.0.1"))
        assert "certificate is not accepted: IP address mismatch" in error
        pull(hub, home, SSL_CERT_FILE=str(trusted))
        assert_whole(home)
