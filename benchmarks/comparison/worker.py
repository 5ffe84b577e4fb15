"""One measurement in a process of its own: worker.py JSON, the result as JSON on the last line of output.

The process has the number of threads from its environment (OMP_NUM_THREADS, set before torch is imported), so that no
measurement inherits another's threads, memory or compiled code.
"""
import ctypes
import importlib.util
import json
import logging
import os
import pathlib
import re
import sys
import time
import warnings

import torch

import losses
from bridge import Bridge, Loss

FLOAT_TOLERANCE, DOUBLE_TOLERANCE = 1e-4, 1e-9


def differentiable(inputs):
    return {name: given for name, given in inputs.items() if isinstance(given, torch.Tensor) and given.requires_grad}


def pytorch_step(form, inputs):
    """A function that runs `form` forward and backward and returns the value and the gradients by name."""
    leaves = differentiable(inputs)

    def step():
        loss = form(**inputs)
        return loss.detach(), dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))

    return step


def vlp_step(bridge, work, inputs, options, threads):
    loss = Loss(bridge, work.loss, *losses.for_vlp(inputs, options), threads)
    return lambda: (loss(), loss.gradients)


def forms(work):
    """The forms of PyTorch by name, and vlp as PyTorch's users call it, where the package is installed."""
    if importlib.util.find_spec("vlp") is None:
        return work.forms
    from vlp.torch import functional

    def form(**inputs):
        arrays, options = losses.for_vlp(inputs, work.variants["vlp"])
        return getattr(functional, work.loss)(**arrays, **options)

    return {**work.forms, "vlp.torch": form}


def contenders(work, inputs, bridge, threads, notes, compiled=True):
    """What is compared, in this order: vlp, the forms of PyTorch, vlp.torch, one form compiled. What cannot be is noted."""
    steps = {}
    for label, options in work.variants.items():
        try:
            steps[label] = vlp_step(bridge, work, inputs, options, threads)
        except RuntimeError as error:
            if "has no option" not in str(error) or label == "vlp":
                raise
            notes.append(f"{label}: left out, {error}")
    for label, form in forms(work).items():
        steps[label] = pytorch_step(form, inputs)
    if compiled:
        label = work.compiled_label
        step = pytorch_step(torch.compile(work.forms[work.compiled], dynamic=False), inputs)
        try:
            step()
            steps[label] = step
        except Exception as error:  # whatever the compiler stumbles over
            notes.append(f"{label}: left out, torch.compile fails: {str(error).strip().splitlines()[0]}")
    return steps


def disagreement(got, want):
    """The largest difference over the largest magnitude; infinite for anything not finite."""
    if got.shape != want.shape or not torch.isfinite(got).all() or not torch.isfinite(want).all():
        return float("inf")
    return float((got.double() - want.double()).abs().max() / want.double().abs().max().clamp(min=1e-6))


def check(steps, reference, tolerance, where):
    """Values and all gradients of all steps against those of `reference`; ends the process where they differ."""
    want, want_gradients = steps[reference]()
    worst = {reference: 0.0}
    for label, step in steps.items():
        if label == reference:
            continue
        value, gradients = step()
        errors = {"loss": disagreement(value.double(), want.double())}
        for name, gradient in gradients.items():
            errors["d_" + name] = disagreement(gradient, want_gradients[name])
        for name, error in errors.items():
            if not error <= tolerance:
                sys.exit(f"compare_pytorch: {where}: {name} of '{label}' and of '{reference}' differ by {error:.1e} of "
                         f"the largest value, more than {tolerance:g}; nothing is timed")
        worst[label] = max(errors.values())
    return worst


def check_in_double(work, bridge, notes):
    inputs = work.inputs(losses.Draw(torch.float64), **work.small)
    steps = contenders(work, inputs, bridge, 1, notes, compiled=False)
    steps.update({label: pytorch_step(form, inputs) for label, form in work.more_forms.items()})
    return max(check(steps, next(iter(work.forms)), DOUBLE_TOLERANCE, f"{work.loss} in double").values())


def interleaved(steps, quick):
    """Seconds of each step, in turn, so that what else the machine does falls on all alike."""
    times = {label: [] for label in steps}
    least, most, budget = (2, 5, 1.0) if quick else (5, 200, 8.0)
    start = time.perf_counter()
    while len(times[next(iter(steps))]) < least or (time.perf_counter() - start < budget and
                                                    len(times[next(iter(steps))]) < most):
        for label, step in steps.items():
            begin = time.perf_counter()
            step()
            times[label].append(time.perf_counter() - begin)
    return times


def product_rate(runs=5, n=1536):
    """GFLOP/s of PyTorch's own product, the best of some."""
    a = torch.ones(n, n)
    best = float("inf")
    for _ in range(runs):
        begin = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - begin)
    return 2e-9 * n ** 3 / best


def openmp_runtimes():
    maps = pathlib.Path("/proc/self/maps")
    if not maps.exists():
        return []
    return sorted(set(re.findall(r"/([^/\s]*lib(?:gomp|omp|iomp5)[^/\s]*)$", maps.read_text(), re.MULTILINE)))


def measure_time(work, sizes, threads, bridge, quick, only):
    """Times of all contenders, or of those that `only` names; all but the compiled form are checked all the same."""
    notes = []
    in_double = check_in_double(work, bridge, notes)
    notes.clear()  # the same again below
    inputs = work.inputs(losses.Draw(torch.float32), **sizes)
    steps = contenders(work, inputs, bridge, threads, notes, compiled=not only or work.compiled_label in only)
    where = f"{work.loss} {work.describe(sizes)}"
    errors = check(steps, next(iter(work.forms)), FLOAT_TOLERANCE, where)
    times = interleaved({label: step for label, step in steps.items() if not only or label in only}, quick)
    return {"seconds": times, "errors": errors, "error_in_double": in_double, "notes": notes,
            "pytorch_product_gflops": product_rate(), "openmp": openmp_runtimes()}


def status(field):
    text = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE).group(1))


def measure_memory(work, sizes, threads, bridge, label):
    """The peak of resident memory in one forward and backward over the state just before it, less the gradients where
    the call allocates them (PyTorch; vlp writes into the caller's). A call at a small shape before it loads
    libraries and starts threads; compiled code is called once at the full shape before, lest its compilation count.
    """
    notes = []
    small = work.inputs(losses.Draw(torch.float32), **losses.QUICK[work.loss][0])
    inputs = work.inputs(losses.Draw(torch.float32), **sizes)
    if label in work.variants:
        vlp_step(bridge, work, small, work.variants[label], threads)()
        step = vlp_step(bridge, work, inputs, work.variants[label], threads)
    elif label in forms(work):
        pytorch_step(forms(work)[label], small)()
        step = pytorch_step(forms(work)[label], inputs)
    else:
        step = pytorch_step(torch.compile(work.forms[work.compiled], dynamic=False), inputs)
        step()
    ctypes.CDLL(None).malloc_trim(0)
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew (Linux)
    except OSError as error:
        return {"bytes": None, "notes": [f"memory is not measured: {error}"]}
    before = status("VmRSS")
    _, gradients = step()
    bytes_above = status("VmHWM") - before
    if label not in work.variants:
        bytes_above -= sum(gradient.nbytes for gradient in gradients.values())
    return {"bytes": max(bytes_above, 0), "notes": notes}


def main():
    request = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)  # it warns of what a GPU would need
    threads = request["threads"]
    torch.set_num_threads(threads)
    bridge = Bridge(request["bridge"])
    work = next(work for work in losses.works() if work.loss == request["loss"])
    try:
        if request["what"] == "time":
            result = measure_time(work, request["sizes"], threads, bridge, request["quick"], request["only"])
        else:
            result = measure_memory(work, request["sizes"], threads, bridge, request["label"])
    except RuntimeError as error:  # what vlp or PyTorch refuse, memory among it
        sys.exit(f"compare_pytorch: {work.loss} {work.describe(request['sizes'])}: {str(error).splitlines()[0]}")
    result.update(backend=bridge.backend(), compiler=bridge.compiler())
    print(json.dumps(result), flush=True)
    os._exit(0)  # compiled code's helpers need no orderly end


if __name__ == "__main__":
    main()
