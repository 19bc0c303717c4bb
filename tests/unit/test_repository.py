"""What stands in the repository, and what never may."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MADE = ("secret-key", "tokens", "*.sqlite3", "*.sqlite3-*", "*.lock", "*.pem", ".env")  # by a Nod that runs


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout of git")
def test_no_data_folder_of_a_nod_is_in_it():
    """Its key signs sessions, its tokens decide."""
    patterns = [f":(glob)**/{name}" for name in MADE]
    listed = subprocess.run(
        ["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == []
