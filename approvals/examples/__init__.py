"""Hooks that work, to be used or copied: docs/terminal.md."""
