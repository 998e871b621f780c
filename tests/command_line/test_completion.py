"""The Tab key completes commands, flags and files."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from agwm.command_line.completion import SHELLS
from agwm.command_line.main import main

pytest.importorskip("shtab", reason="shtab is not installed")


@pytest.fixture
def script(capsys):
    def write(shell):
        with pytest.raises(SystemExit) as stop:
            main(["--print-completion", shell])
        assert not stop.value.code
        return capsys.readouterr().out

    return write


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("fi", "fit"),
        ("fit --ep", "--epochs"),
        ("compare --max", "--max-length"),
        ("fit tr", "train.csv"),
        ("fit --test tr", "train.csv"),
        ("predict mo", "models"),
        ("report --output-dir mo", "models"),
    ],
)
def test_bash_completes(script, words, found, tmp_path):
    (tmp_path / "train.csv").write_text("")
    (tmp_path / "models").mkdir()
    (tmp_path / "agwm.bash").write_text(script("bash"))
    last = len(words.split())
    program = f"source ./agwm.bash; COMP_WORDS=(agwm {words}); COMP_CWORD={last}"
    program += '; _shtab_agwm agwm "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (found, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(script, shell):
    text = script(shell)
    assert "agwm" in text and all(name in text for name in ("fit", "predict", "compare", "report"))


def test_another_shell_is_refused(capsys):
    assert main(["--print-completion", "csh"]) == 2
    assert "invalid choice: 'csh'" in capsys.readouterr().err
