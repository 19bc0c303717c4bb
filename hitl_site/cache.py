"""What the processes share in Redis: JSON, since unpickling would run whatever somebody put there."""

import json
from typing import Any


class JSONSerializer:
    """For Django's Redis cache."""

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)
