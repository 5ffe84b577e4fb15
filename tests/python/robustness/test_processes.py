"""Forks, spawned workers, threads and ends of processes: the same bits, and neither a hang nor an abort."""
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("tvm_ffi", reason="vlp's libraries are called through apache-tvm-ffi")
pytest.importorskip("numpy", reason="these tests pass NumPy's arrays")
from counting import counting  # noqa: E402
from passes import environment, info_nce, python  # noqa: E402

from vlp import text  # noqa: E402

REPORT = "There is a small left pleural effusion. The heart is mildly enlarged, lungs are clear."


def loss_and_text(_=None):
    """What a worker computes: with threads, so that a pool of threads must be its own."""
    return info_nce(threads=2).bits(), text.Perturber(seed=1).batch([REPORT] * 64, 0, threads=2)


def context(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    return multiprocessing.get_context(method)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_compute_the_same_bits(method):
    workers = context(method)
    ours = loss_and_text()  # the parent has run loops on threads, which its forks do not have
    with workers.Pool(2) as pool:
        assert pool.map_async(loss_and_text, range(4)).get(timeout=60) == [ours] * 4
    assert loss_and_text() == ours


def fork_again(depth, queue):
    queue.put(loss_and_text())
    if depth > 0:
        child = multiprocessing.get_context("fork").Process(target=fork_again, args=(depth - 1, queue))
        child.start()
        child.join(30)
        os._exit(child.exitcode or 0)


def test_forks_of_forks():
    workers, ours = context("fork"), loss_and_text()
    queue = workers.Queue()
    child = workers.Process(target=fork_again, args=(2, queue))
    child.start()
    assert [queue.get(timeout=30) for _ in range(3)] == [ours] * 3
    child.join(30)
    assert child.exitcode == 0


def test_forks_while_another_thread_computes():
    """The child of a thread that computes nothing has no part of another thread's loop."""
    workers, ours = context("fork"), loss_and_text()
    ended = threading.Event()

    def keep_busy():
        while not ended.is_set():
            loss_and_text()

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        for _ in range(5):
            queue = workers.Queue()
            child = workers.Process(target=fork_again, args=(0, queue))
            child.start()
            assert queue.get(timeout=30) == ours
            child.join(30)
            assert child.exitcode == 0
    finally:
        ended.set()
        busy.join()


def test_threads_at_once_compute_the_same_bits():
    ours = loss_and_text()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(loss_and_text, range(12))) == [ours] * 12


def test_threads_share_a_prepared_loss():
    runs = [info_nce() for _ in range(4)]
    ours = runs[0].bits()
    assert runs[0].prepared("forward") is runs[1].prepared("forward")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert list(pool.map(lambda run: run.bits(), runs)) == [ours] * 4


def test_many_short_threads_leave_nothing():
    """Each thread has devices of its own, which end with it."""
    ours, out = info_nce(threads=2).bits(), []
    threads_before = len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else None
    for _ in range(40):
        thread = threading.Thread(target=lambda: out.append(info_nce(threads=2).bits()))
        thread.start()
        thread.join()
    assert out == [ours] * 40
    if threads_before is not None:
        assert len(os.listdir("/proc/self/task")) <= threads_before + 2


def test_other_threads_run_during_a_loss():
    run = info_nce(pairs=1500, features=256, threads=1)
    run.forward()
    with counting() as counted:
        forward, during = run.prepared("forward"), 0
        deadline = time.monotonic() + 10
        while during < 3 and time.monotonic() < deadline:
            before = counted[0]
            forward(1, *run.numbers, *run.inputs, run.value, run.saved)  # one call, which holds no lock of Python's
            during = max(during, counted[0] - before)
    assert during >= 3


ALIVE = """
from passes import info_nce
from vlp import text
from vlp._library import library
run = info_nce(threads=2)
run.bits()
forward = run.prepared("forward")
perturber, tagger = text.Perturber(), text.Tagger()
perturber.batch(["The left lung is clear."] * 64, 0, threads=2)
tokeniser = text.WordPiece("[PAD] [UNK] [CLS] [SEP] lung".split())
array = tokeniser.batch(["lung"]).ids
def call():
    run.bits()
    perturber.batch(["The left lung is clear."] * 64, 0, threads=2)
"""

ENDS = {
    "of itself": "",
    "by sys.exit": "sys.exit(0)",
    "by os._exit": "import os; os._exit(0)",
    "inside atexit": "import atexit; atexit.register(call)",
    "inside atexit, before vlp is loaded there": "import atexit; atexit.register(lambda: library.cache_clear())",
    "in a destructor": "class Late:\n    def __del__(self, call=call):\n        call()\nlate = Late(); sys.late = late",
    "in a cycle": "cycle = [run, perturber, forward]; cycle.append(cycle)",
    "without the library": "library.cache_clear(); text._module.cache_clear(); import gc; gc.collect(); call()",
    "without the module": "del sys.modules['vlp.text'], sys.modules['vlp._library'], text, library; call()",
    "with only a function": "del run, perturber, tagger, tokeniser, call\nlibrary.cache_clear()\n"
                            "text._module.cache_clear()\nimport gc; gc.collect()",
    "with a thread that waits": "import threading; threading.Thread(target=call).start()",
    "after a KeyboardInterrupt": "import signal, os\ntry:\n    os.kill(os.getpid(), signal.SIGINT); call()\n"
                                 "except KeyboardInterrupt:\n    call()",
    "after a fork": "import os\npid = os.fork()\ncall()\nif pid: assert os.waitpid(pid, 0)[1] == 0",
}


@pytest.mark.parametrize("end", ENDS)
def test_an_interpreter_ends(end):
    out = python(ALIVE + ENDS[end])
    assert (out.returncode, out.stderr) == (0, "")


@pytest.mark.parametrize("work", ["run.bits()", "perturber.batch(['The left lung is clear.'] * 4000, 0, threads=2)",
                                  "forward(1, *run.numbers, *run.inputs, run.value, run.saved)"])
def test_an_interpreter_ends_under_daemon_threads(work):
    """Daemon threads are inside calls, or between two, when the interpreter ends."""
    for pause in (0.0, 0.003, 0.02):
        out = python(ALIVE + f"""
import threading, time
run = info_nce(pairs=300, threads=2)
run.forward()
def forever():
    while True:
        {work}
for _ in range(2 if 'perturber' in {work!r} else 1):
    threading.Thread(target=forever, daemon=True).start()
time.sleep({pause})
""")
        assert (out.returncode, out.stderr) == (0, "")


def test_an_interrupt_ends_a_process_by_python():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.modules['torch'] = None\n" + ALIVE + """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
print("ready", flush=True)
while True:
    call()
"""], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        errors = child.communicate(timeout=30)[1]
    finally:
        child.kill()
    assert errors.rstrip().endswith("KeyboardInterrupt") and child.returncode == -signal.SIGINT
