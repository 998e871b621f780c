"""A disk that is full, read-only or gone costs a line, and the same command goes on when it is mended.

The disks are real: small file systems in memory, mounted where this process alone sees them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.experiments.grid.commands import ENVIRONMENT

AGWM = [sys.executable, "-m", "agwm"]
FULL = """
cd "$1"; shift; mkdir disk; mount -t tmpfs -o size=16k tmpfs disk
"$@"; echo "code $?"
find disk -name '*.agwm-part' -o -name '.saving-*'
mount -o remount,size=64m disk
"$@"; echo "code $?"
"""
READ_ONLY = """
cd "$1"; shift; mkdir disk; mount -t tmpfs tmpfs disk; mount -o remount,ro disk
"$@"; echo "code $?"
"""
GONE = """
cd "$1"; shift; mkdir disk; mount -t tmpfs tmpfs disk
(until ls disk/out/checkpoints > /dev/null 2>&1; do sleep 0.1; done; rm -rf disk/*) &
"$@"; echo "code $?"
wait
"$@"; echo "code $?"
"""


@pytest.fixture
def on_disk(tmp_path):
    """Run a command of agwm on a disk: its lines of output, and of errors."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")

    def run(script, *command):
        done = subprocess.run(
            [unshare, "-rm", "bash", "-c", script, "bash", str(tmp_path), *AGWM, *command],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout.splitlines(), done.stderr.splitlines()

    return run


@pytest.fixture
def compared(arguments):
    """Return a comparison of two methods on own files, that writes to the disk."""
    flags = [text for text in map(str, arguments) if text]
    place = flags.index("--output-dir")
    return ["compare", *flags[:place], "--output-dir", "disk/out", *flags[place + 2 :]]


def test_a_full_disk_is_told_and_the_same_command_goes_on(on_disk, compared):
    out, err = on_disk(FULL, *compared)
    codes = [line for line in out if line.startswith("code")]
    assert codes == ["code 2", "code 0"], err
    assert not [line for line in out if "agwm-part" in line or ".saving" in line]
    (line,) = [line for line in err if line.startswith("error")]
    assert "expected room and permission, got: No space left on device. Free some space" in line


def test_a_read_only_disk_is_told_before_anything_is_run(on_disk, compared):
    out, err = on_disk(READ_ONLY, *compared)
    assert out == ["code 2"]
    (line,) = [line for line in err if line.startswith("error")]
    assert line.startswith("error: Output folder is not writable: expected a folder to write in, got")


@pytest.mark.slow
def test_a_folder_that_is_removed_under_a_run_is_told(on_disk, compared):
    out, err = on_disk(GONE, *compared, "--set", "vanilla.epochs=300")
    codes = [line for line in out if line.startswith("code")]
    assert codes[1] == "code 0", err
    if codes[0] != "code 0":
        (line,) = [line for line in err if line.startswith("error")]
        assert line.startswith("error: Cannot write 'disk/out/")
