"""The chat in a terminal: docs/terminal.md."""
