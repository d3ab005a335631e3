"""What `cmake --install` and `cpack` make of the build works for somebody who has nothing else of it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "release"
MODEL = ROOT / "models" / "octavo-tiny"

pytestmark = pytest.mark.skipif(
    not (BUILD / "liboctavo.a").exists(), reason="build/release holds no library (make test builds it)"
)


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    where = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", BUILD, "--prefix", where)
    return where


def test_the_installed_program_finds_its_own_model(prefix, tmp_path):
    assert "octavo" in run(prefix / "bin" / "octavo", "--version", cwd=tmp_path)
    out = run(prefix / "bin" / "octavo", "bench", "latency", "--input-len", 8, "--output-len", 4, "--batch-size", 1,
              "--num-iters", 1, "--num-iters-warmup", 0, "--device", "cpu", cwd=tmp_path)
    assert "Avg latency" in out


def test_a_program_of_thirty_lines_builds_against_the_installed_library(prefix, tmp_path):
    run("cmake", "-S", ROOT / "examples" / "complete", "-B", tmp_path / "build", "-G", "Ninja",
        f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release")
    run("cmake", "--build", tmp_path / "build")
    lines = run(tmp_path / "build" / "complete", MODEL, "Once upon a time", "The").splitlines()
    assert len(lines) >= 2


def test_the_debian_package_installs_and_its_program_runs(tmp_path):
    if shutil.which("dpkg") is None:
        pytest.skip("needs dpkg")
    run("cpack", "-G", "DEB", "-B", tmp_path, cwd=BUILD)
    package = next(tmp_path.glob("*.deb"))
    root = tmp_path / "root"
    (root / "var" / "lib" / "dpkg" / "updates").mkdir(parents=True)
    (root / "var" / "lib" / "dpkg" / "info").mkdir()
    for name in ("status", "available"):
        (root / "var" / "lib" / "dpkg" / name).touch()
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    # libc6 is the only dependency, and an empty root holds not even that.
    run("dpkg", "--root", root, "--force-not-root", "--force-depends", "--force-bad-path", "-i", package,
        env={**os.environ, "PATH": path})
    assert "octavo" in run("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W")
    program = root / "usr" / "bin" / "octavo"
    needed = run("ldd", program)
    assert all(name in ("linux-vdso.so.1", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1")
               or name.startswith("/lib") for name in (line.split()[0] for line in needed.splitlines()))
    out = run(program, "bench", "latency", "--input-len", 8, "--output-len", 4, "--batch-size", 1, "--num-iters", 1,
              "--num-iters-warmup", 0, "--device", "cpu", cwd=tmp_path)
    assert "Avg latency" in out
