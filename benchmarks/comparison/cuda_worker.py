"""All measurements of one loss on a CUDA device, in a process of its own: cuda_worker.py JSON. It says {"ready": ...} and
then answers each request, a line of JSON on its input, by one on its output: a case by a block of the table, with or
without what is to be compiled; a small shape by what is wrong there.

16-bit forms of PyTorch run as users run them, under autocast: products in 16 bits, softmax in float32. Products of
float32 are not rounded to TF32. vlp runs on PyTorch's own memory and current stream.
"""
import gc
import json
import logging
import os
import statistics
import sys
import warnings

import torch

import losses
from bridge import Bridge, Loss
from worker import DOUBLE_TOLERANCE, disagreement, pytorch_step

# Of vlp's loss and gradients from float64, relative to the largest value. PyTorch's may be PYTORCH_TIMES as far from it: in
# 16 bits it rounds more often.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}
PYTORCH_TIMES = 10
OUT_OF_MEMORY = "out of memory"


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


def free():
    gc.collect()
    torch.cuda.empty_cache()


def in_half(form, dtype):
    """The form under autocast, where its inputs have 16 bits."""
    if dtype.itemsize != 2:
        return form

    def run(**inputs):
        with torch.autocast("cuda", dtype):
            return form(**inputs)

    return run


def exact(work, inputs):
    """Loss and gradients of the same inputs in float64."""
    def widened(given):
        if not (isinstance(given, torch.Tensor) and given.is_floating_point()):
            return given
        return given.detach().double().requires_grad_(given.requires_grad)

    return pytorch_step(work.all_forms[work.exact], {name: widened(given) for name, given in inputs.items()})()


def worst(got, want):
    """The largest disagreement of loss and gradients."""
    errors = [disagreement(got[0].double(), want[0])]
    errors += [disagreement(gradient, want[1][name]) for name, gradient in got[1].items()]
    return max(errors)


def peak_of(step):
    """Bytes that PyTorch takes for a step above inputs and gradients (which it allocates)."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    _, gradients = step()
    torch.cuda.synchronize()
    return max(torch.cuda.max_memory_allocated() - before - sum(one.nbytes for one in gradients.values()), 0)


def vlp_loss(work, inputs, bridge):
    arrays, options = losses.for_vlp(inputs, work.variants["vlp"])
    return Loss(bridge, work.loss, arrays, options, torch.cuda.current_stream().cuda_stream)


def small_problems(work, bridge):
    """What is wrong at a small shape: a form of PyTorch in float64, vlp on numbers of a type."""
    inputs = work.inputs(losses.Draw(torch.float64, "cuda"), **work.small)
    want = exact(work, inputs)
    for label, form in work.all_forms.items():
        error = worst(pytorch_step(form, inputs)(), want)
        if not error <= DOUBLE_TOLERANCE:
            yield f"'{label}' and '{work.exact}' differ by {error:.1e} of the largest value in float64"
    for dtype, tolerance in TOLERANCE.items():
        inputs = work.inputs(losses.Draw(dtype, "cuda"), **work.small)
        loss = vlp_loss(work, inputs, bridge)
        error = worst((loss(), loss.gradients), exact(work, inputs))
        if not error <= tolerance:
            yield f"vlp in {dtype} differs from float64 by {error:.1e} of the largest value"


def pytorch_contenders(work, inputs, dtype, compiled):
    """Functions that make a step, by label: a compiled one is compiled when it is first called."""
    forms = {label: in_half(form, dtype) for label, form in work.all_forms.items()}
    steps = {label: (lambda form=form: pytorch_step(form, inputs)) for label, form in forms.items()}
    if compiled:
        steps[work.compiled_label] = lambda: pytorch_step(torch.compile(forms[work.compiled], dynamic=False), inputs)
    return steps


def try_pytorch(make, want, tolerance):
    """A row for a form of PyTorch, and its step, or None where it does not run or is wrong."""
    try:
        step = make()
        error = worst(step(), want)
        if not error <= tolerance:
            return {"outcome": f"differs from float64 by {error:.1e} of the largest value; not timed"}, None
        return {"error": error, "peak_bytes": peak_of(step)}, step
    except torch.cuda.OutOfMemoryError:
        return {"outcome": OUT_OF_MEMORY}, None
    except Exception as error:  # whatever the compiler stumbles over
        text = f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
        return {"outcome": OUT_OF_MEMORY if "out of memory" in str(error).lower() else text}, None


def measure(work, request, bridge, device, quick):
    dtype, sizes = getattr(torch, request["type"]), request["sizes"]
    block = {"loss": work.loss, "type": request["type"], "sizes": sizes, "rows": []}
    inputs = work.inputs(losses.Draw(dtype, "cuda"), **sizes)
    loss = vlp_loss(work, inputs, bridge)
    held = bridge.device_bytes()
    for _ in range(3):  # scratch memory has its size after the second
        loss()
    own = {"contender": "vlp", "peak_bytes": bridge.device_bytes() - held, "scratch_bytes": loss.scratch_bytes()}
    block["rows"].append(own)
    want = exact(work, inputs)
    error = worst((loss(), loss.gradients), want)
    free()
    if not error <= TOLERANCE[dtype]:
        own["outcome"] = f"differs from float64 by {error:.1e} of the largest value; not timed"
        return block
    own["error"] = error
    steps = {"vlp": loss}
    for label, make in pytorch_contenders(work, inputs, dtype, request["compiled"]).items():
        row, step = try_pytorch(make, want, PYTORCH_TIMES * TOLERANCE[dtype])
        block["rows"].append({"contender": label, **row})
        if step is not None:
            steps[label] = step
        free()
    del want
    time_in_turn(steps, block["rows"], device, quick)
    return block


def time_in_turn(steps, rows, device, quick):
    """Adds the times of the steps, taken in turn, to their rows."""
    first = {label: min(device.milliseconds(step) for _ in range(3)) for label, step in steps.items()}
    count = 2 if quick else int(min(max(1000 / sum(first.values()), 5), 100))
    times = {label: [] for label in steps}
    for _ in range(count):
        for label, step in steps.items():
            times[label].append(device.milliseconds(step))
    for row in rows:
        if row["contender"] in times:
            own = times[row["contender"]]
            row.update(milliseconds=statistics.median(own), least=min(own), most=max(own),
                       all_milliseconds=[round(one, 5) for one in own])


def settings():
    return {"card": torch.cuda.get_device_name(0), "pytorch": torch.__version__, "cuda": torch.version.cuda,
            "allow_tf32": torch.backends.cuda.matmul.allow_tf32,
            "bf16_reduced_precision_reduction": torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction}


def free_all():
    """Whether that was possible: a device that no longer answers is for another process to have anew."""
    try:
        free()
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def say(message):
    print(json.dumps(message), flush=True)


def answer(work, request, bridge, device, quick):
    try:
        if request["what"] == "small":
            return {"problems": list(small_problems(work, bridge))}
        block = measure(work, request, bridge, device, quick)
    except RuntimeError as error:  # what vlp or PyTorch refuse, memory among it
        text = str(error).splitlines()[0][:300]
        if request["what"] == "small":
            return {"problems": [text]}
        block = {"loss": work.loss, "type": request["type"], "sizes": request["sizes"],
                 "rows": [{"contender": "vlp", "outcome": text}]}
    return {**block, **settings(), "backend": bridge.backend(), "compiler": bridge.compiler()}


def main():
    setup = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    if not torch.cuda.is_available():
        sys.exit(f"compare_pytorch: PyTorch {torch.__version__} finds no CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = False
    bridge, device = Bridge(setup["bridge"]), Device()
    work = next(work for work in losses.works() if work.loss == setup["loss"])
    say({"ready": work.loss})
    for line in sys.stdin:
        result = answer(work, json.loads(line), bridge, device, setup["quick"])
        say({**result, "last": not free_all()})
    os._exit(0)  # compiled code's helpers need no orderly end


if __name__ == "__main__":
    main()
