"""The zip: built by the real pip from a small tree and a small wheel."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import zipfile

import pytest
from django.conf import settings

from hitl_site.agentcore import bundle
from hitl_site.agentcore.trouble import Trouble


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A Nod of five files that needs one library, which is at hand for Linux on ARM alone."""
    root = tmp_path / "tree"
    files = {
        "hosted/__init__.py": "",
        "hosted/app.py": "def main(): ...\n",
        "hosted/requirements.txt": "tiny==1.0\n",
        "agents/models.py": "A = 1\n",
        "agents/notes.txt": "not code\n",
        "agents/migrations/0001.py": "B = 1\n",
        "agents/__pycache__/models.pyc": "compiled\n",
        "approvals/states.py": "C = 1\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    wheel(tmp_path / "wheels", "manylinux_2_28_aarch64")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return root


def wheel(folder, platform):
    folder.mkdir()
    info = "tiny-1.0.dist-info"
    files = {
        "tiny.py": "HERE = True\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-{platform}\n",
        f"{info}/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"tiny-1.0-py3-none-{platform}.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def test_it_packs_the_code_and_its_libraries_the_same_each_time(tree, tmp_path, monkeypatch):
    made = bundle.build(tree, tmp_path / "work", "desk", "3.12")

    with zipfile.ZipFile(made.path) as archive:
        names = archive.namelist()
        entries = archive.infolist()
        assert "from hosted.app import main" in archive.read("main.py").decode()
    code = {"main.py", "hosted/__init__.py", "hosted/app.py", "agents/models.py", "approvals/states.py"}
    assert {name for name in names if not name.startswith("tiny")} == code
    assert "tiny.py" in names and "tiny-1.0.dist-info/METADATA" in names
    assert names == sorted(names)
    assert {entry.external_attr >> 16 for entry in entries} == {stat.S_IFREG | 0o644}
    assert {entry.date_time for entry in entries} == {bundle.YEAR_ONE}

    # once more, with the libraries of last time: no pip, and the same bytes
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    first = made.path.read_bytes()
    assert bundle.build(tree, tmp_path / "work", "desk", "3.12") == made
    assert made.path.read_bytes() == first

    (tree / "agents" / "models.py").write_text("A = 2\n")
    assert bundle.build(tree, tmp_path / "work", "desk", "3.12").content != made.content


def test_the_code_in_it_is_all_that_the_agent_needs(tmp_path):
    """Started from the zip's own files, with nothing else of Nod in reach."""
    for name, path in bundle.code(settings.BASE_DIR).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / name)
    start = (
        "import sys; from hosted.app import build; build(); print([m for m in sys.modules if 'hitl' in m])"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "NOD_MODEL_PROVIDER": "demo"}

    done = subprocess.run(
        [sys.executable, "-c", start], cwd=tmp_path, env=env, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_it_says_that_the_index_cannot_be_reached(tree, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_TIMEOUT", "1")
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/simple")

        with pytest.raises(Trouble, match="The package index can't be reached.* --zip FILE"):
            bundle.build(tree, tmp_path / "work", "desk", "3.12")

    assert list((tmp_path / "work").iterdir()) == []


def test_it_knows_what_pip_means():
    missing = "ERROR: Could not find a version\nERROR: No matching distribution found for odd==1\n"
    assert (
        "no ready-made library for Linux on ARM (No matching distribution found for odd==1)"
        in bundle.why_not(missing)
    )
    assert "has no pip" in bundle.why_not("/usr/bin/python3: No module named pip\n")
    assert bundle.why_not("ERROR: Disk is full\n") == "The libraries can't be installed: Disk is full"
    assert bundle.why_not("") == "The libraries can't be installed: it said nothing"


def test_it_says_that_its_folder_cannot_be_written(tree):
    with pytest.raises(Trouble, match="can't be made: Not a directory. Set NOD_DATA"):
        bundle.build(tree, tree / "hosted" / "app.py" / "work", "desk", "3.12")


def test_it_says_that_the_tree_is_not_whole(tmp_path):
    with pytest.raises(Trouble, match="requirements.txt is missing"):
        bundle.build(tmp_path, tmp_path / "work", "desk", "3.12")


def test_it_looks_over_a_zip_that_is_given(tmp_path):
    path = tmp_path / "code.zip"
    with pytest.raises(Trouble, match="isn't there"):
        bundle.look(path)
    path.write_text("no zip")
    with pytest.raises(Trouble, match="is no zip"):
        bundle.look(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("app/main.py", "")
    with pytest.raises(Trouble, match="has no main.py at its root"):
        bundle.look(path)


def test_packing_makes_no_other_content(tmp_path):
    found = set()
    for kind, order in ((zipfile.ZIP_STORED, "ab"), (zipfile.ZIP_DEFLATED, "ba")):
        with zipfile.ZipFile(tmp_path / "code.zip", "w", kind) as archive:
            for name in ["main", *order]:
                archive.writestr(f"{name}.py", name * 100)
        found.add(bundle.look(tmp_path / "code.zip").content)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("zipped", "unzipped", "said"), [(251, 300, "251 MB zipped.* 250 MB"), (1, 751, "751 MB unzipped")]
)
def test_it_keeps_to_the_limits_of_agentcore(tmp_path, zipped, unzipped, said):
    bundle.require_small(bundle.Bundle(tmp_path, "", 250 * bundle.MB, 750 * bundle.MB))

    with pytest.raises(Trouble, match=f"{said}.* configure --image"):
        bundle.require_small(bundle.Bundle(tmp_path, "", zipped * bundle.MB, unzipped * bundle.MB))
