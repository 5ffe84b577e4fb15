"""A thread that counts, to see that others run while one is in a call."""
import contextlib
import threading


@contextlib.contextmanager
def counting():
    """Another thread counts on, about once a millisecond; gives its count, in a list."""
    counted, ended = [0], threading.Event()

    def count():
        while not ended.is_set():
            counted[0] += 1
            ended.wait(0.001)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        yield counted
    finally:
        ended.set()
        counter.join()
