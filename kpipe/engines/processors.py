"""Processors and GPUs of this machine, divided between processes."""

import math
import os
import subprocess

from ..errors import UserError

_MOST_THREADS = 4096  # of what is no mistake


def usable_processors() -> int:
    """Returns the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_or(default: int, name: str = "TF_NUM_INTRAOP_THREADS") -> int:
    """Returns the threads that an environment variable says; if it is unset or 0, the default.

    Raises:
        UserError: The variable is no number of threads.
    """
    text = os.environ.get(name, "").strip() or "0"
    if not text.isdecimal() or int(text) > _MOST_THREADS:
        raise UserError(
            f"{name}={text}; expected a number of threads, at most {_MOST_THREADS}, or 0 for "
            "kpipe's own choice"
        )
    return int(text) or default


def thread_settings(threads: int) -> dict[str, str]:
    """Returns the environment of a process with so many threads; what the user has set remains."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    settings = {name: str(threads_or(threads, name)) for name in names}
    return settings | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}


def gpu_settings(processes: int) -> list[dict[str, str]]:
    """Deals the GPUs of this machine to processes, and divides the memory of a shared one.

    Returns:
        The environment of each process. `environment.fix_threads` obeys $KPIPE_GPU_MEMORY.
    """
    gpus = _gpus()
    if not gpus:
        return [{}] * processes
    dealt: list[list[tuple[str, int]]] = [[] for _ in range(processes)]
    for number in range(max(processes, len(gpus))):
        dealt[number % processes].append(gpus[number % len(gpus)])
    settings = [{"CUDA_VISIBLE_DEVICES": ",".join(name for name, _ in own)} for own in dealt]
    if (share := math.ceil(processes / len(gpus))) > 1:
        for own, setting in zip(dealt, settings, strict=True):
            # A tenth is for what CUDA itself takes in each process.
            setting["KPIPE_GPU_MEMORY"] = str(int(own[0][1] * 0.9 / share))
    return settings


def _gpus() -> list[tuple[str, int]]:
    """Returns name and MiB of the visible GPUs; TensorFlow, if asked, would take their memory."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
        rows = [[cell.strip() for cell in line.split(",")] for line in told.splitlines()]
        found = [(index, uuid, int(memory)) for index, uuid, memory in rows]
    except (OSError, ValueError, subprocess.SubprocessError):  # no GPU, or one of another kind
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [(uuid, memory) for _, uuid, memory in found]
    return [
        (name, memory)
        for name in visible.split(",")
        for index, uuid, memory in found
        if name.strip() in (index, uuid)
    ]
