"""What a request may cost, and how one is refused that would cost more or is wrong."""

import dataclasses
from collections.abc import Mapping

from ..errors import UserError

MEBIBYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of a server. The defaults are those of `kpipe serve`.

    Attributes:
        body: Bytes of a request's body.
        bodies: Bytes of all requests that are in memory at once, until they are computed.
        pixels: Pixels of an encoded image, compared before it is decoded. A request may have four
            times as many in all its images.
        instances: Examples of a request.
        deadline: Seconds from the first byte of a request to its answer.
        patience: Seconds within which a client must send a request's head, and go on with its body
            or with reading an answer.
        queue: Examples that are waiting or being computed.
        connections: Open connections. For one more, one that is idle is closed; if none is, it is
            answered for probes only.
        batch: Examples that are computed at once, of several requests.
        wait: Seconds that a request waits for others, if it is likely that some come.

    Raises:
        UserError: A request could be so large that there would never be room for it.
    """

    body: int = 8 * MEBIBYTE
    bodies: int = 256 * MEBIBYTE
    pixels: int = 25_000_000
    instances: int = 64
    deadline: float = 30.0
    patience: float = 10.0
    queue: int = 1024
    connections: int = 256
    batch: int = 64
    wait: float = 0.002

    def __post_init__(self) -> None:
        if self.instances > self.queue:
            raise UserError(
                f"--max-instances {self.instances:,} is more than --queue {self.queue:,}, the "
                "examples that may wait; choose a larger --queue"
            )
        if self.body > self.bodies:
            raise UserError(
                f"--max-body {self.body / MEBIBYTE:,g} MiB is more than all requests together may "
                f"take; expected at most {self.bodies // MEBIBYTE}"
            )


class Refusal(Exception):
    """A request that is not answered; its message is one line for the client.

    Attributes:
        status: HTTP status: 400, 403, 404, 405, 408, 413, 501, 503 or 504.
        kind: What the metrics count it as.
        headers: Headers of the answer.
    """

    def __init__(
        self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(" ".join(message.splitlines()))
        self.status = status
        self.kind = kind
        self.headers = headers or {}


def bad_input(message: str) -> Refusal:
    """Returns the refusal of a request that is wrong."""
    return Refusal(400, "bad_input", message)


def too_busy(message: str, kind: str = "full") -> Refusal:
    """Returns the refusal of a request that would be answered later."""
    return Refusal(503, kind, message, {"retry-after": "1"})
