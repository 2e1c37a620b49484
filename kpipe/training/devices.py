"""The devices of a data-parallel training: one process each, and what they tell one another.

A batch is cut into a fixed number of shards. Shards are the arithmetic of a run, and part of its
identity; processes only divide them among themselves. So nothing here may depend on the number of
processes: gradients are gathered and added in the order of the shards, since the order within
TensorFlow's own all-reduce follows the number of processes.
"""

import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import tensorflow_server_pb2
from tensorflow.python.eager import context

from ..errors import RunError, UserError
from .signals import Flag

WAIT = 300  # seconds for all processes to be started; TensorFlow's own is an hour


@dataclasses.dataclass
class Devices:
    """The shards of every batch, and the processes that compute them.

    Without `addresses` this process computes all shards.

    Attributes:
        shards: Number of shards of a batch.
        rank: Number of this process, from 0; process 0 writes, the others follow.
        addresses: HOST:PORT of every process, at which they find one another.

    Raises:
        UserError: The processes cannot divide the shards equally among themselves.

    Example:
        kpipe.Trainer(epochs=5).fit(model, data, devices=Devices(shards=4))
    """

    shards: int
    rank: int = 0
    addresses: Sequence[str] = ()
    flag: Flag = dataclasses.field(default_factory=Flag)  # a signal to this process
    stop: bool = False  # whether process 0 wants to end the training, by its clock
    agreed_signal: int = 0  # what all know since the last step
    agreed_stop: bool = False
    lost: str = ""  # which process has ended, if its parent knows
    _key: int = 0

    def __post_init__(self) -> None:
        if self.shards < 1:
            raise UserError(f"shards={self.shards}: expected a number from 1")
        if self.shards % self.processes:
            fits = [n for n in range(1, self.shards + 1) if self.shards % n == 0]
            raise UserError(
                f"{self.processes} devices cannot divide {self.shards} shards equally; use "
                f"{', '.join(map(str, fits))} devices"
            )

    @property
    def processes(self) -> int:
        return max(1, len(self.addresses))

    @property
    def own(self) -> range:
        """The shards of this process."""
        count = self.shards // self.processes
        return range(self.rank * count, (self.rank + 1) * count)

    def connect(self) -> None:
        """Waits for the other processes; TensorFlow must not have run anything yet.

        Raises:
            UserError: It has, or its address is not this machine's, or in use.
        """
        if self.processes == 1:
            return
        eager = context.context()
        if eager._context_handle is not None:
            raise UserError(
                "TensorFlow has already run in this process, and only a new one can be connected "
                "to others; restart Python, or use the command kpipe run"
            )
        leader = "/job:worker/replica:0/task:0"
        # In this order: the server is told what is configured before.
        eager.configure_collective_ops(
            collective_leader=leader,
            scoped_allocator_enabled_ops=("CollectiveReduce",),
            device_filters=(f"/job:worker/task:{self.rank}",),
        )
        job = context.coordination_config_pb2.CoordinatedJob(
            name="worker", num_tasks=self.processes
        )
        eager.configure_coordination_service(
            service_type="standalone",
            service_leader=leader,
            coordinated_jobs=[job],
            cluster_register_timeout_in_ms=1000 * WAIT,
        )
        cluster = tf.train.ClusterSpec({"worker": list(self.addresses)})
        server = tensorflow_server_pb2.ServerDef(
            cluster=cluster.as_cluster_def(),
            default_session_config=eager.config,
            job_name="worker",
            task_index=self.rank,
            protocol="grpc",
            port=int(self.addresses[self.rank].rpartition(":")[2]),
        )
        eager.enable_collective_ops(server)
        try:
            eager.ensure_initialized()
        except tf.errors.OpError as error:
            raise UserError(
                f"{self.addresses[self.rank]}: the processes cannot be connected "
                f"({error.message.splitlines()[0]}); expected an address of this machine with a "
                f"free port, and every process started within {WAIT // 60} minutes"
            ) from None
        # Private: else every exported graph would contain them.
        eager._collective_leader = eager._coordination_service_config = None
        eager._collective_device_filters = eager._collective_scoped_allocator_enabled_ops = None
        ranks = self.gather(tf.constant([self.rank]))
        if ranks.numpy().tolist() != list(range(self.processes)):
            raise RunError(f"TensorFlow orders the processes otherwise: {ranks.numpy().tolist()}")

    def begin(self) -> Flag:
        """Begins a training; returns the flag of signals to this process."""
        self.stop = self.agreed_stop = False
        return self.flag

    def _run(self, operation: Any, part: tf.Tensor) -> tf.Tensor:
        """Runs a collective operation, in which all processes take part."""
        self._key += 1  # of its own, since a process may begin the next before another ends this
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        try:
            with tf.device(f"/job:worker/replica:0/task:{self.rank}/device:{kind}:0"):
                result: tf.Tensor = operation(
                    input=part,
                    group_size=self.processes,
                    group_key=1,
                    instance_key=self._key,
                    ordering_token=[],
                    communication_hint="nccl" if kind == "GPU" else "auto",
                    timeout_seconds=0,
                )
                return result
        except tf.errors.OpError as error:
            time.sleep(1)  # who started the lost process may learn of its end, and why, a bit later
            raise self.ended(error) from None

    def ended(self, error: tf.errors.OpError | None = None) -> RunError:
        """Returns the error that says which process has ended."""
        said = error.message if error else ""
        others = [rank for rank in range(self.processes) if rank != self.rank]
        found = [rank for rank in others if f"/task:{rank}" in said] or others
        named = ", ".join(f"{rank} ({self.addresses[rank].rpartition(':')[0]})" for rank in found)
        one = len(found) == 1
        who = self.lost or (
            f"the process of device {named} ended" if one else f"a process of {named} ended"
        )
        return RunError(f"{who}; the same command resumes at the last checkpoint")

    def gather(self, part: tf.Tensor) -> tf.Tensor:
        """Returns the parts of all processes, joined along the first axis in their order."""
        if self.processes == 1:
            return part
        return self._run(tf.raw_ops.CollectiveGatherV2, part)

    def leave(self) -> None:
        """Ends together with all others, so that none is taken for one that was killed.

        Raises:
            RunError: A process ended before it came here.
        """
        self.gather(tf.zeros(1))
        # Now all have come. Who receives the last part first ends, perhaps while it is still sent.
        with contextlib.suppress(RunError):
            self.gather(tf.zeros(1))

    def add_up(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns the sum of a vector of each shard, in the order of the shards.

        Every process adds up an equal share of the numbers, and the shares are then gathered: twice
        the vector is sent, however many processes there are, as in a ring.

        Args:
            parts: The vectors of the own shards, float32 (n,).
        """
        if self.processes == 1:
            return _sum(parts)
        count, processes = int(parts[0].shape[0]), self.processes
        share = -(-count // processes)
        padded = [tf.pad(part, [[0, share * processes - count]]) for part in parts]
        # (processes, own shards, share): row p goes to process p.
        rows = tf.stack([tf.reshape(part, [processes, share]) for part in padded], 1)
        received = self._run(tf.raw_ops.CollectiveAllToAllV2, rows)
        total = _sum(tf.unstack(tf.reshape(received, [self.shards, share])))
        return self.gather(total)[:count]

    def exchange(self, rows: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns a row of each shard, and lets all processes know of signals.

        Args:
            rows: The rows of the own shards, float32 (n,).

        Returns:
            float32 (shards, n)
        """
        header = tf.constant([self.flag.number or 0, self.stop], tf.float32)
        gathered = self.gather(tf.stack([tf.concat([header, row], 0) for row in rows]))
        headers = gathered[:, :2].numpy()
        self.agreed_signal = int(headers[:, 0].max())
        self.agreed_stop = bool(headers[0, 1])
        return gathered[:, 2:]

    def share(
        self, state: Any, variables: Mapping[str, Sequence[tf.Variable]] | None = None
    ) -> Any:
        """Gives the state of process 0, and the values of its variables, to all others.

        Args:
            state: Plain JSON values.
            variables: Named lists of variables, of the same shapes and types in all processes.
        """
        if self.processes == 1:
            return state
        state = json.loads(self._broadcast(json.dumps(state).encode()))
        for variable in itertools.chain(*(variables or {}).values()):
            value = variable.numpy()
            content = self._broadcast(value.tobytes())
            if self.rank:
                new = np.frombuffer(content, value.dtype).reshape(value.shape)
                variable.assign(new)
        return state

    def _broadcast(self, content: bytes) -> bytes:
        own = content if self.rank == 0 else b""
        size = int(self.gather(tf.constant([len(own)]))[0])
        words = np.zeros((1, -(-size // 4)), np.int32)
        words.view(np.uint8)[0, : len(own)] = np.frombuffer(own, np.uint8)
        if not words.size:
            return b""
        return self.gather(tf.constant(words))[0].numpy().tobytes()[:size]


def _sum(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
