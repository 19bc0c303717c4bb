"""The zip that AgentCore runs: the agent of `hosted/`, what it imports of Nod, and its libraries for Linux on ARM.

The same tree makes the same content hash on any machine, so what has not changed is not uploaded again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hitl_site.agentcore.trouble import Trouble

PACKAGES = ("hosted", "agents", "approvals")
REQUIREMENTS = Path("hosted") / "requirements.txt"
ENTRY = "main.py"
MAIN = (
    '"""Where AgentCore starts."""\n\nfrom hosted.app import main\n\nif __name__ == "__main__":\n    main()\n'
)
# AgentCore runs on Amazon Linux 2023, whose glibc takes all of these; pip prefers the first that fits.
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64")
MB = 1024 * 1024
ZIPPED, UNZIPPED = 250 * MB, 750 * MB  # AgentCore's quotas for a direct code deployment
# Scripts name the Python of this machine, RECORD lists them; neither is needed to import a library.
LEFT_OUT = {"__pycache__", "bin", "migrations", "management", "RECORD"}
YEAR_ONE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Bundle:
    """A zip and what is known of it."""

    path: Path
    content: str  # SHA-256 over the names and contents in it: how it was packed makes no difference
    zipped: int
    unzipped: int

    def __str__(self) -> str:
        sizes = f"{self.zipped / MB:.1f} MB, {self.unzipped / MB:.1f} MB unzipped"
        return f"{self.path} ({sizes}, content {self.content[:12]})"


def build(root: Path, work: Path, name: str, python: str) -> Bundle:
    """Make the zip of the tree at `root`. Libraries are kept in `work` for the next time."""
    requirements = root / REQUIREMENTS
    if not requirements.is_file():
        raise Trouble(f"{requirements} is missing: the code of the agent is not whole. Check it out again.")
    path = work / f"{name}.zip"
    try:
        work.mkdir(parents=True, exist_ok=True)
        _pack({**_libraries(requirements, work, python), **code(root)}, path)
    except OSError as error:
        raise Trouble(f"{path} can't be made: {error.strerror}. Set NOD_DATA to another folder.") from None
    return look(path)


def code(root: Path) -> dict[str, Path]:
    """What of Nod goes into the zip, by its names there."""
    below = (each for package in PACKAGES for each in _below(root / package, root))
    return {name: path for name, path in below if name.endswith(".py")}


def look(path: Path) -> Bundle:
    """Look a zip over: what AgentCore would refuse is refused here."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            digest = hashlib.sha256()
            for entry in sorted(entries, key=lambda each: each.filename):
                digest.update(f"{entry.filename}\0{_digest(archive, entry)}\n".encode())
    except FileNotFoundError:
        raise Trouble(f"{path} isn't there.") from None
    except OSError as error:
        raise Trouble(f"{path} can't be read: {error.strerror}.") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise Trouble(f"{path} is no zip that can be read ({error}).") from None
    if ENTRY not in {entry.filename for entry in entries}:
        raise Trouble(f"{path} has no {ENTRY} at its root, which is where AgentCore starts.")
    found = Bundle(path, digest.hexdigest(), path.stat().st_size, sum(entry.file_size for entry in entries))
    require_small(found)
    return found


def require_small(bundle: Bundle) -> None:
    """AgentCore's limits. Larger code goes into a container image."""
    for size, limit, what in ((bundle.zipped, ZIPPED, "zipped"), (bundle.unzipped, UNZIPPED, "unzipped")):
        if size > limit:
            raise Trouble(
                f"{bundle.path} has {size / MB:.0f} MB {what}, and AgentCore takes {limit // MB} MB. "
                "Leave libraries out, or deploy a container image: configure --image."
            )


def _digest(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    with archive.open(entry) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _below(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder, by their names in the zip."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        for name in sorted(set(names) - LEFT_OUT):
            path = Path(place) / name
            if path.suffix != ".pyc" and path.is_file():
                yield path.relative_to(root).as_posix(), path


def _pack(files: dict[str, Path], path: Path) -> None:
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted({*files, ENTRY}):
                data = MAIN.encode() if name == ENTRY else files[name].read_bytes()
                archive.writestr(_entry(name, files.get(name)), data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _entry(name: str, path: Path | None) -> zipfile.ZipInfo:
    """AgentCore unpacks as another user, so everybody may read. No clock, no person of this machine is in it."""
    entry = zipfile.ZipInfo(name, YEAR_ONE)
    executable = path is not None and path.stat().st_mode & stat.S_IXUSR
    entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
    entry.create_system = 3  # Unix: else the permissions are not looked at
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _libraries(requirements: Path, work: Path, python: str) -> dict[str, Path]:
    """The files of the libraries; those of last time, if nothing has changed since."""
    text = "\n".join([requirements.read_text(encoding="utf-8"), python, *PLATFORMS])
    kept = work / f"libraries-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if not kept.is_dir():
        with tempfile.TemporaryDirectory(dir=work) as folder:
            _install(requirements, Path(folder) / "libraries", python)
            for old in work.glob("libraries-*"):
                shutil.rmtree(old)
            (Path(folder) / "libraries").rename(kept)
    return dict(_below(kept, kept))


def _install(requirements: Path, target: Path, python: str) -> None:
    target.mkdir()
    platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--retries", "1", "--no-compile", "--only-binary=:all:", "--implementation", "cp"),
        *(
            "--python-version",
            python,
            *platforms,
            "--target",
            str(target),
            "--requirement",
            str(requirements),
        ),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Trouble(why_not(done.stderr))


def why_not(said: str) -> str:
    """What pip's complaint comes down to."""
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    last = errors[-1][:300] if errors else (said.strip().splitlines() or ["it said nothing"])[-1][:300]
    if "No module named pip" in said:
        return "This Python has no pip, which installs the libraries. Use the .venv of `make run`, or --zip FILE."
    if "Retrying (" in said or "connection" in last.lower():
        return (
            "The package index can't be reached, so the libraries can't be had. Look at the network and at "
            "PIP_INDEX_URL, or give a zip that was built elsewhere: --zip FILE."
        )
    if "No matching distribution found" in last:
        return f"There is no ready-made library for Linux on ARM ({last}). Change hosted/requirements.txt."
    return f"The libraries can't be installed: {last}"
