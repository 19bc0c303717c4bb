"""Every change of state of the approval desk: one function, one transaction, its audit rows inside."""
