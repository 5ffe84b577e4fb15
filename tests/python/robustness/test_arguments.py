"""Arguments that passes cannot take: one of Python's exceptions with a sentence, and never an abort."""
import ctypes
import gc
import os
from pathlib import Path

import pytest

tvm_ffi = pytest.importorskip("tvm_ffi", reason="vlp's libraries are called through apache-tvm-ffi")
np = pytest.importorskip("numpy", reason="these tests pass NumPy's arrays")
from passes import Run, aligned, golden, info_nce, python  # noqa: E402

from vlp._library import library  # noqa: E402

LOSSES = sorted(library().losses)
HUGE = [2**31, 2**40, 2**62, 2**63 - 1]


@pytest.mark.parametrize("loss", LOSSES)
def test_golden_arguments_are_taken(loss):
    run = Run(loss, golden(loss))
    assert np.isfinite(run.forward()) and all(np.isfinite(one).all() for one in run.backward())


@pytest.mark.parametrize("loss", LOSSES)
def test_huge_shapes(loss):
    """Sizes that no memory has are refused; sizes that merely are large give a count of bytes."""
    run = Run(loss, golden(loss))
    shapes = [None if one is None else one.shape for one in run.inputs]
    prepared, numbers = run.prepared("saved_bytes"), run.numbers
    for extent in HUGE:
        huge = [None if one is None else tvm_ffi.Shape([extent] * len(one)) for one in shapes]
        try:
            assert prepared(1, *numbers, *huge) >= 0
            assert extent < 2**32
        except ValueError as error:
            assert str(error)
        for i, one in enumerate(shapes):
            for d in range(len(one or ())):
                changed = [None if o is None else tvm_ffi.Shape(o) for o in shapes]
                changed[i] = tvm_ffi.Shape([*one[:d], extent, *one[d + 1:]])
                try:
                    assert prepared(1, *numbers, *changed) >= 0
                except ValueError as error:
                    assert str(error)
    with pytest.raises(ValueError, match="2\\^63|no memory"):
        prepared(1, *numbers, *[None if one is None else tvm_ffi.Shape([2**62] * len(one)) for one in shapes])
    with pytest.raises((ValueError, OverflowError)):
        prepared(1, *numbers, *[None if one is None else tvm_ffi.Shape([-1] * len(one)) for one in shapes])
    with pytest.raises((ValueError, OverflowError, TypeError)):
        prepared(1, *numbers, *[None if one is None else tvm_ffi.Shape([2**70] * len(one)) for one in shapes])


@pytest.mark.parametrize("loss", LOSSES)
def test_nan_inputs(loss):
    arrays = {name: np.full_like(array, np.nan) if array.dtype.kind == "f" else array
              for name, array in golden(loss).items()}
    run = Run(loss, arrays)
    run.bits()
    arrays = {name: np.full_like(array, np.inf) if array.dtype.kind == "f" else array for name, array in arrays.items()}
    Run(loss, arrays).bits()


@pytest.mark.parametrize("loss", LOSSES)
def test_wild_whole_numbers_of_inputs(loss):
    """Counts, groups and targets of any value are defined or refused."""
    for value in (-2**63, -1, 0, 1, 2**31, 2**63 - 1):
        arrays = {name: array if array.dtype.kind == "f" else np.full_like(array, value, dtype=np.int64)
                  for name, array in golden(loss).items()}
        run = Run(loss, {name: array for name, array in arrays.items() if name != "valid"})
        try:
            run.bits()
        except ValueError as error:
            assert str(error)
        for i in range(len(run.numbers)):
            run = Run(loss, golden(loss))
            run.numbers[i] = value
            try:
                run.bits()
            except (ValueError, MemoryError) as error:
                assert str(error)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_input_left_out_emptied_or_of_another_kind(loss):
    for i, array in enumerate(library().losses[loss].inputs):
        run = Run(loss, golden(loss))
        given = run.inputs[i]
        if given is None:
            continue
        run.forward()
        before = run.value.tobytes()
        wrong = {"of another type": given.astype(np.float32 if given.dtype != np.float32 else np.int64),
                 "of another rank": given[None], "complex": given.astype(np.complex128),
                 "a str": "image", "a number": 5, "a float": 1.5, "a list": [1.0], "a dict": {}, "an object": object()}
        for kind, one in wrong.items():
            run.inputs[i] = one
            with pytest.raises((TypeError, ValueError), match="."):
                run.prepared("forward")(1, *run.numbers, *run.inputs, run.value, run.saved)
        for one in (None, given[:0] if given.ndim else None, given[..., :0] if given.ndim else None):
            run.inputs[i] = one
            try:
                run.bits()
            except ValueError as error:
                assert str(error)
        run.inputs[i] = given
        run.forward()
        assert run.value.tobytes() == before


def test_arrays_of_no_elements():
    for pairs, features in ((0, 0), (0, 4), (4, 0)):
        run = Run("info_nce", {"image": np.zeros((pairs, features)), "text": np.zeros((pairs, features)),
                               "log_scale": np.array(0.0)})
        try:
            run.bits()
        except ValueError as error:
            assert "info_nce" in str(error)


def test_strides():
    straight = info_nce(pairs=8, features=5, threads=1, number="float64")
    straight.bits()
    run = info_nce(pairs=8, features=5, threads=1, number="float64")
    turned = np.ascontiguousarray(run.inputs[0][::-1])[::-1]
    padded = np.zeros((8, 3, 7))[:, 1, :5]
    padded[:] = run.inputs[1]
    run.inputs[0], run.inputs[1] = turned, padded
    assert turned.strides[0] < 0
    np.testing.assert_allclose(run.forward(), straight.value, rtol=1e-12)
    run.gradients[0] = np.zeros((8, 5))[::-1]
    run.backward()
    np.testing.assert_allclose(run.gradients[0], straight.gradients[0], rtol=1e-9)
    for wrong in (np.zeros((8, 5))[:, ::-1], np.zeros((8, 10))[:, ::2], np.asfortranarray(np.zeros((8, 5)))):
        run.inputs[0] = wrong
        with pytest.raises(ValueError, match="elements of the last dimension of image must be adjacent"):
            run.forward()
    run.inputs[0] = np.lib.stride_tricks.as_strided(np.ones(5), (8, 5), (0, 8))  # one row for all
    same = Run("info_nce", {"image": np.ones((8, 5)), "text": run.inputs[1], "log_scale": np.array(2.0)})
    np.testing.assert_allclose(run.forward(), same.forward(), rtol=1e-12)
    for one, other in zip(run.backward(), same.backward()):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15)
    run.gradients[0] = np.lib.stride_tricks.as_strided(np.zeros(5), (8, 5), (0, 8))
    with pytest.raises(ValueError, match="strides of 0 x 1, so that its rows overlap"):
        run.backward()


def test_arrays_off_their_elements_boundaries():
    run = info_nce(pairs=4, features=4, threads=1, number="float64")
    memory = np.zeros(4 * 4 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(4, 4)
    run.forward()
    for place in ("inputs", "gradients"):
        list_ = getattr(run, place)
        kept, list_[0] = list_[0], memory
        with pytest.raises(ValueError, match="info_nce: image does not lie on a boundary of 8 bytes"):
            run.backward()
        list_[0] = kept


@pytest.mark.parametrize("loss", LOSSES)
def test_saved_memory_of_the_wrong_kind(loss):
    run = Run(loss, golden(loss))
    run.forward()
    size = run.saved_bytes()
    run.saved = aligned(size + 1)  # more than is needed
    run.forward()
    for wrong, kind in ((aligned(max(size - 1, 0)), ValueError), (aligned(0), ValueError),
                        (aligned(size, offset=1), ValueError), (aligned(size, offset=32), ValueError),
                        (None, TypeError), (5, TypeError), ("saved", TypeError),
                        (np.zeros(size + 1, np.float32), TypeError), (np.zeros((1, size + 1), np.uint8), TypeError),
                        (np.zeros(2 * size + 4, np.uint8)[::2], TypeError)):
        if size == 0 and kind is ValueError and wrong.size == 0:
            continue
        for step in ("forward", "backward"):
            with pytest.raises(kind, match="saved"):
                if step == "forward":
                    run.prepared(step)(1, *run.numbers, *run.inputs, run.value, wrong)
                else:
                    run.prepared(step)(1, *run.numbers, 1.0, *run.inputs, wrong, *run.gradients)


def test_counts_of_arguments():
    run = info_nce(pairs=4, features=4, threads=1)
    run.forward()
    forward = run.prepared("forward")
    whole = [1, *run.numbers, *run.inputs, run.value, run.saved]
    for count in range(len(whole)):
        with pytest.raises(TypeError, match="info_nce: .* is not given"):
            forward(*whole[:count])
    with pytest.raises(TypeError, match=f"takes {len(whole)} arguments, but {len(whole) + 40} are given"):
        forward(*whole, *[None] * 40)
    with pytest.raises(TypeError):
        forward(*whole, keyword=1)


def test_numbers_of_other_kinds():
    run = info_nce(pairs=4, features=4, threads=1)
    run.forward()
    forward, backward, rest = run.prepared("forward"), run.prepared("backward"), [*run.inputs, run.value, run.saved]
    for wrong in (1.5, "1", None, [1], 2**70, -2**70, object(), np.zeros(1), float("nan")):
        with pytest.raises(TypeError, match="threads must be a whole number"):
            forward(wrong, *run.numbers, *rest)
        for i in range(len(run.numbers)):
            with pytest.raises(TypeError, match="must be a whole number"):
                forward(1, *run.numbers[:i], wrong, *run.numbers[i + 1:], *rest)
    for wrong in (-1, 1025, 2**31, 2**31 + 1, 2**32 + 1, 2**63 - 1, -2**63):
        with pytest.raises(ValueError, match=f"threads must be from 0 .* but is {wrong}"):
            forward(wrong, *run.numbers, *rest)
    for upstream in ("1", None, [1.0], object()):
        with pytest.raises(TypeError, match="upstream must be a number"):
            backward(1, *run.numbers, upstream, *run.inputs, run.saved, *run.gradients)
    for upstream in (0, 1, -0.0, float("nan"), float("inf"), 1e308, np.float32(1), True):
        backward(1, *run.numbers, upstream, *run.inputs, run.saved, *run.gradients)
    run.gradients[0] = run.gradients[0].astype(np.float64)
    with pytest.raises(ValueError, match="has elements of type float64, not float32"):
        run.backward()


def test_what_prepare_refuses():
    prepare = library()._prepare
    for arguments, kind in (
            (("info_nce", "float32", "sideways"), ValueError), (("info_nce", "float16", "forward"), ValueError),
            (("info_nce", "", "forward"), ValueError),
            (("info_nce", "float32", "forward", ("label_smoothing",)), TypeError),
            (("info_nce", "float32", "forward", ("nonsense", "1")), ValueError),
            (("info_nce", "float32", "forward", ("label_smoothing", "much")), ValueError),
            (("info_nce", "float32", "forward", ("label_smoothing", "nan")), ValueError),
            (("info_nce", "float32", "forward", ("label_smoothing", "0,1")), ValueError),
            (("info_nce", "float32", "forward", ("label_smoothing", "2")), ValueError),
            (("info_nce", "float32", "forward", ("duplicate_policy", "maybe\0\x1b")), ValueError),
            (("info_nce", "float32", "forward", ("duplicate_policy", 1)), TypeError),
            (("info_nce", 32, "forward"), TypeError), (("info_nce", "float32", None), TypeError),
            (("info_nce", "float32", "forward", None), TypeError),
            (("info_nce", "float32", "forward", (), 5), TypeError),
            (("info_nce", "float32", "forward", (), ("loss", None)), TypeError),
            (("info_nce", "float32", "forward", (), (), (), (), "yes"), TypeError),
            (("info_nce", "float32", "forward", ("\ud800", "1")), ValueError)):
        with pytest.raises(kind, match="."):
            prepare(*arguments)
    for unhashable in (["label_smoothing", "0.1"],):
        with pytest.raises(TypeError):
            library().prepare("info_nce", "float32", "forward", unhashable)
    run = info_nce(pairs=4, features=4, threads=1)
    run.forward()
    unknown = prepare("info_nce", "float32", "forward", (), ("nonsense",))
    with pytest.raises(ValueError, match="info_nce: has no output nonsense"):
        unknown(1, *run.numbers, *run.inputs, run.value, run.saved)
    twice = prepare("info_nce", "float32", "forward", (), ("loss", "loss"))
    with pytest.raises(ValueError, match="the output loss is given twice"):
        twice(1, *run.numbers, *run.inputs, run.value, run.value, run.saved)
    many = prepare("info_nce", "float32", "forward", (), ("loss",) * 100)
    with pytest.raises(TypeError, match="takes at most 32 arrays"):
        many(1, *run.numbers, *run.inputs, *[run.value] * 100, run.saved)


FUZZ = """
import random
import numpy as np, tvm_ffi
from passes import Run, aligned, golden
random_ = random.Random(1)
ODD = [None, 0, 1, -1, 2**31, 2**62, 2**70, 1.5, float("nan"), True, "", "loss", b"", (), [1], {}, object(),
       np.zeros(0), np.zeros(()), np.zeros((2, 2)), np.zeros((3, 4), np.float32), np.zeros((0, 4)), np.zeros((4, 0)),
       np.zeros(3, np.int64), np.full(3, -1), np.full(3, 2**62), np.zeros((2, 3, 4)), np.zeros((1, 1, 1, 1)),
       np.zeros((2,) * 9), np.ones(3, bool), np.zeros((3, 2), np.int32), np.zeros(8, np.uint8),
       np.zeros(3, np.complex64), np.zeros((3, 4))[::-1, ::-1],
       tvm_ffi.Shape((1, 2)), tvm_ffi.Shape(()), tvm_ffi.Shape((2**62,) * 3), aligned(64), aligned(4096)]
done = refused = 0
for loss in LOSSES:
    run = Run(loss, golden(loss))
    run.bits()
    calls = {"forward": [1, *run.numbers, *run.inputs, run.value, run.saved],
             "backward": [1, *run.numbers, 1.0, *run.inputs, run.saved, *run.gradients],
             "saved_bytes": [1, *run.numbers,
                             *[None if one is None else tvm_ffi.Shape(one.shape) for one in run.inputs]],
             "block_saved_bytes": [1, *run.numbers, *[None] * len(run.inputs)],
             "forward_backward": [1, *run.numbers, 1.0, *run.inputs, run.value, *run.gradients],
             "accumulate": [1, *run.numbers, *run.inputs, run.saved],
             "merge": [1, *run.numbers], "finish": [1, *run.numbers],
             "differentiate": [1, *run.numbers, 1.0, *run.inputs, run.saved, *run.gradients]}
    for _ in range(TRIES):
        step = random_.choice(list(calls))
        arguments = [a.copy() if isinstance(a, np.ndarray) and a.dtype != np.uint8 else a for a in calls[step]]
        for _ in range(random_.choice([1, 1, 1, 2, 3])):
            arguments[random_.randrange(len(arguments))] = random_.choice(ODD)
        if random_.random() < 0.05:
            arguments = arguments[:random_.randrange(len(arguments))]
        try:
            run.prepared(step)(*arguments)
            done += 1
        except (ValueError, TypeError, MemoryError) as error:
            assert str(error)
            refused += 1
    assert run.bits() == Run(loss, golden(loss)).bits()
assert done > 0 and refused > 100
print("survived")
"""


def test_random_mixtures_of_arguments():
    """In a process of its own, which must not crash."""
    out = python(f"LOSSES = {LOSSES!r}\nTRIES = {int(os.environ.get('VLP_FUZZ_TRIES', 400))}\n" + FUZZ, timeout=600)
    assert (out.returncode, out.stdout, out.stderr) == (0, "survived\n", "")


TOO_LITTLE = """
import ctypes
import resource
import numpy as np
from passes import Run, aligned
from vlp import text
rng = np.random.default_rng(0)
def local_alignment(pairs):
    regions, words = rng.normal(size=(pairs, 100, 64)), rng.normal(size=(pairs, 20, 64))
    return Run("local_alignment", {"regions": regions, "words": words, "word_count": np.full(pairs, 20)}, "float32")
local_alignment(2).forward()  # where OpenBLAS computes products, it waits for its first memory for ever
run = local_alignment(24)
run.saved = aligned(run.saved_bytes())
forward, perturber, tokeniser = run.prepared("forward"), text.Perturber(max_words=None), text.WordPiece(PIECES)
report = "small left lung " * 20_000
calls = {"loss": lambda: forward(1, *run.numbers, *run.inputs, run.value, run.saved),
         "perturber": lambda: perturber.all(report, 0, 0),
         "word pieces": lambda: tokeniser.batch([report], max_pieces=10**5)}
for name, call in calls.items():
    ends = []
    for kilobytes in [*range(0, 4000, 250), *range(4000, 40000, 4000)]:
        ctypes.CDLL(None).malloc_trim(0)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (kilobytes << 10), -1))
        try:
            call()
            ends.append("done")
        except MemoryError:
            ends.append("MemoryError")
        except RuntimeError as error:  # tvm-ffi's, where it copies a text
            assert str(error) == "std::bad_alloc"
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    call()
    print(name, sorted(set(ends)))
"""


def test_too_little_memory():
    """Wherever memory ends, there is a MemoryError, and the same objects serve again afterwards."""
    pytest.importorskip("resource", reason="the limit of memory is the system's")
    out = python("PIECES = '[PAD] [UNK] [CLS] [SEP] lung small left'.split()\n" + TOO_LITTLE)
    assert (out.returncode, out.stderr) == (0, "")
    assert out.stdout == "".join(f"{name} ['MemoryError', 'done']\n" for name in ("loss", "perturber", "word pieces"))


def test_memory_is_given_back():
    """Ten thousand passes prepared and called keep the process as large as it was, refused ones among them."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("this system has no /proc")
    run = info_nce(pairs=4, features=4, threads=1)
    run.forward()

    def calls(count):
        for i in range(count):
            options = "label_smoothing", str(i % 7 / 10)
            prepared = library()._prepare("info_nce", "float32", "forward", options, ("loss",))
            prepared(1, *run.numbers, *run.inputs, run.value, run.saved)
            run.backward()
            if i % 20 == 0:
                for wrong in (None, run.saved[:1], aligned(run.saved.size, 1)):
                    with pytest.raises((ValueError, TypeError)):
                        prepared(1, *run.numbers, *run.inputs, run.value, wrong)
                with pytest.raises(ValueError):
                    library()._prepare("info_nce", "float32", "forward", ("nonsense", "1"))

    def resident():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    calls(500)
    before = resident()
    calls(10_000)
    assert resident() - before < 2 << 20
