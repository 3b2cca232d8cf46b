"""Several processes that talk to each other as those of torchrun's do, forked from the one that tests, which need not import all anew."""

import os
import pickle
import socket
import tempfile
import threading
import traceback
from pathlib import Path

from tqdm import tqdm

from sae_lens_metrics.ranks import Ranks


def in_ranks(size, work):
    """What ``work(ranks)`` gives in each of so many processes, in their order; the exit status of one that is killed.

    Args:
        size: How many.
        work: The function; it may end its process.
    """
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        started = [_start(rank, size, port, work, Path(folder) / str(rank)) for rank in range(size)]
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
        return [_answer(Path(folder) / str(rank), status) for rank, status in enumerate(statuses)]


def _start(rank, size, port, work, path):
    pid = os.fork()
    if pid:
        return pid
    try:
        tqdm.set_lock(threading.RLock())  # its own one is shared with processes that end while they hold it
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1"}
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
        try:
            answer = True, work(Ranks.launched())
        except BaseException as error:
            answer = False, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        path.write_bytes(pickle.dumps(answer))
    finally:
        os._exit(0)


def _answer(path, status):
    if not path.exists():
        return status
    fine, answer = pickle.loads(path.read_bytes())
    assert fine, answer
    return answer


def _free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
