"""All metadata are in setup.cfg but the description: README.md without its links into the repository."""

import re
from pathlib import Path

from setuptools import setup

TEXT = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
INSIDE = r"\[([^]]*)\]\((?!https?://)[^)]*\)"  # no page of a package index has these files beside it

TEXT = re.sub(rf"^!?{INSIDE}(?: ·)?\n", "", TEXT, flags=re.MULTILINE)  # pictures, and lists of pages
setup(long_description=re.sub(INSIDE, r"\1", TEXT))
