"""Every change of state of sessions and runs: one function, one transaction."""
