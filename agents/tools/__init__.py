"""Tools an agent may call, one file each. How to add one: docs/tools.md."""
