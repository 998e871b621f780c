"""The tutorials as notebooks: their code, their execution, and how the site shows them.

A tutorial is a page of ``docs/tutorials`` in MyST: its blocks ``{code-cell}`` are the cells of a notebook.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NAMES = (  # in the order in which they are read
    "own_data", "reading_the_report", "trainer", "own_loss", "token_classification", "question_answering",
    "seq2seq", "images", "betty_program", "continual",
)  # fmt: skip
TUTORIALS = [ROOT / "docs" / "tutorials" / f"{name}.md" for name in NAMES]
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = "SECONDS-OF-THIS-BUILD"  # stands in a page until its notebook has run


def prepare() -> None:
    """Set what kernels inherit: this agwm and its command, no hub, one thread for tiny models."""
    for name, first in (("PATH", Path(sys.executable).parent), ("PYTHONPATH", ROOT)):
        os.environ[name] = os.pathsep.join([str(first), *filter(None, [os.environ.get(name)])])
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of tqdm: a page has no widgets
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def cache_folder(folder: Path = ROOT / "build" / "notebooks") -> Path:
    """Return where outputs are kept for this code of agwm and these versions; drop those of others."""
    digest = hashlib.sha256()
    for path in (*sorted((ROOT / "agwm").rglob("*.py")), ROOT / "constraints.txt"):
        digest.update(path.read_bytes())
    own = folder / digest.hexdigest()[:12]
    for other in {*folder.glob("*")} - {own}:
        shutil.rmtree(other)
    return own


def read(page: Path) -> Any:
    """Return a tutorial as a notebook without outputs."""
    from myst_nb.core.read import read_myst_markdown_notebook

    return read_myst_markdown_notebook(page.read_text(encoding="utf-8"))


def execute(page: Path, folder: Path) -> tuple[Any, float]:
    """Run a tutorial in a folder; return its notebook with outputs, and the seconds. Errors are raised."""
    from nbclient import NotebookClient

    prepare()
    notebook = read(page)
    start = time.perf_counter()
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook, time.perf_counter() - start


def with_time_and_download(page: str, text: str) -> str:
    """Put a line below the title of a tutorial: how long it took, and its notebook."""
    link = f"{{nb-download}}`{Path(page).name}.ipynb`"
    line = f"*Took {SECONDS} s when this site was built. As a notebook: {link}*"
    return re.sub(r"^# .+$", lambda title: f"{title[0]}\n\n{line}", text, count=1, flags=re.MULTILINE)
