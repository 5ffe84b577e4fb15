"""Times and memory of steps on a CUDA device, within the time that a request has."""
import gc
import statistics
import time

import torch

OUT_OF_MEMORY = "out of memory"
SLOW, VERY_SLOW = 300, 3000  # ms: a step that takes longer is timed twice, or once


def free():
    gc.collect()
    torch.cuda.empty_cache()


class Clock:
    """The seconds that the parts of a request took, and how much of its time is left."""

    def __init__(self, begin):
        """The process was started when time.monotonic() was `begin`: the first part of the first request."""
        self.last, self.parts = begin, {}
        self.lap("start")

    def begin(self, begin, seconds):
        """A request was sent at `begin` and may take so long."""
        self.last, self.seconds, self.end = time.monotonic(), seconds, begin + seconds

    def lap(self, part):
        """What was done since the last call belongs to this part."""
        now = time.monotonic()
        self.parts[part] = self.parts.get(part, 0) + now - self.last
        self.last = now

    def take(self):
        """The parts of the request, which has ended."""
        parts, self.parts = self.parts, {}
        return {part: round(seconds, 3) for part, seconds in parts.items()}

    def has_left(self, share):
        """Whether that share of the request's time is left."""
        return self.end - time.monotonic() > share * self.seconds


class Device:
    """What is done to a CUDA device between calls; keeps what clears its cache."""

    def __init__(self):
        cache = torch.cuda.get_device_properties(0).L2_cache_size
        self.other = torch.empty(4 * cache // 4, dtype=torch.int32, device="cuda")

    def flush(self):
        """Writes and then reads other memory: neither inputs nor what would first have to be written back are in L2.
        Takes longer than queueing a small step, so that the time of queueing is not measured."""
        self.other.zero_()
        self.other.sum()

    def milliseconds(self, step):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self.flush()
        begin.record()
        step()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)


def peak_of(step, gradients, device):
    """Bytes that PyTorch takes for a step above inputs and gradients (which it allocates and which have so many bytes), and
    the milliseconds of that step."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    milliseconds = device.milliseconds(step)
    return max(torch.cuda.max_memory_allocated() - before - gradients, 0), milliseconds


def first_look(step, device):
    """About how long a step takes, the least of three calls or one long one, in ms."""
    taken = device.milliseconds(step)
    return taken if taken > SLOW else min([taken] + [device.milliseconds(step) for _ in range(2)])


def summary(times):
    """What a row has of the times of a contender in ms."""
    return {"milliseconds": statistics.median(times), "least": min(times), "most": max(times),
            "all_milliseconds": [round(one, 5) for one in times]}


def time_in_turn(steps, rows, device, quick, clock):
    """Adds the times of the steps, taken in turn for about half a second, to their rows. A step that ran alone may find too
    little memory beside the others; then only its own row is lost."""
    rows, first, times = {row["contender"]: row for row in rows}, {}, {}
    for label, step in steps.items():
        try:
            first[label], times[label] = first_look(step, device), []
        except torch.cuda.OutOfMemoryError:
            rows[label]["outcome"] = OUT_OF_MEMORY
            free()
    if not times:
        return
    total = sum(first.values())
    least = 5 if total < 2 * SLOW else 2
    for taken in range(2 if quick else int(min(max(500 / total, least), 100))):
        if taken > 0 and not clock.has_left(0.2):
            break
        for label, own in times.items():
            own.append(device.milliseconds(steps[label]))
    for label, own in times.items():
        rows[label].update(summary(own))
    clock.lap("timing")
