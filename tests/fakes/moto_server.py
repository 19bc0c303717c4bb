"""moto's server (S3, IAM, STS) in a process of its own: its patches of botocore and its warnings stay there.

`python -m tests.fakes.moto_server` prints its address and serves until its standard input ends.
"""

from __future__ import annotations

import subprocess
import sys
import warnings


class MotoServer:
    def __enter__(self) -> MotoServer:
        command = [sys.executable, "-W", "ignore", "-m", "tests.fakes.moto_server"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self.__exit__()
            raise RuntimeError("moto's server did not start.")
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def main() -> None:
    warnings.simplefilter("ignore")
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
