"""What stops a command."""


class Trouble(Exception):
    """One sentence or two that say what is wrong and what to do."""
