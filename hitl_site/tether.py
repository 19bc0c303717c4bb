"""Runs a command that dies with the process that started it: `python tether.py PARENT_PID COMMAND...`.

A killed `up` cannot stop its processes, so on Linux the kernel is asked to. This is a program of its own, and
not a `preexec_fn`, because Python code between fork and exec is unsafe in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    # The wish survives the exec below. SIGKILL, since a polite worker would first finish its task.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("The parent ended before its process began.")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
