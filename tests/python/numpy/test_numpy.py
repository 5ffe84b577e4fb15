"""vlp.numpy: every loss by its definition, its gradients by central differences, and whatever arrays people have."""
from __future__ import annotations

import inspect
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from losses import DEFINITIONS, OPTIONS, inputs_of

import vlp.numpy
from vlp._library import library

LOSSES = list(library().losses)


def call(loss: str, inputs: dict[str, Any], **options: Any) -> Any:
    return getattr(vlp.numpy, loss)(**inputs, **options)


def with_gradient(loss: str) -> list[str]:
    return [one.name for one in library().losses[loss].inputs if one.gradient]


def image_and_text(dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    inputs = inputs_of("info_nce")
    return inputs["image"].astype(dtype), inputs["text"].astype(dtype)


def test_every_loss_has_a_function_and_a_definition():
    assert set(vlp.numpy.__all__) == set(LOSSES) == set(DEFINITIONS)


@pytest.mark.parametrize("loss", LOSSES)
def test_value_is_that_of_the_definition(loss):
    inputs = inputs_of(loss)
    value = call(loss, inputs, **OPTIONS[loss])
    assert value.dtype == np.float64
    assert value == pytest.approx(DEFINITIONS[loss](inputs, OPTIONS[loss]), rel=1e-11)
    single = call(loss, {name: one.astype(np.float32) if one.dtype == np.float64 else one for name, one in inputs.items()},
                  **OPTIONS[loss])
    assert single.dtype == np.float32
    assert single == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_central_differences(loss):
    inputs, options = inputs_of(loss), OPTIONS[loss]
    names = with_gradient(loss)
    value, *gradients = call(loss, inputs, gradients=names, **options)
    assert value == pytest.approx(call(loss, inputs, **options), rel=1e-14)
    random = np.random.default_rng(1)
    for name, gradient in zip(names, gradients, strict=True):
        assert np.shape(gradient) == inputs[name].shape and gradient.dtype == np.float64
        direction, step = random.standard_normal(inputs[name].shape), 1e-5
        above, below = (DEFINITIONS[loss]({**inputs, name: inputs[name] + sign * step * direction}, options)
                        for sign in (1, -1))
        assert (gradient * direction).sum() == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("loss", LOSSES)
def test_inputs_are_not_written(loss):
    inputs = inputs_of(loss)
    before = {name: one.copy() for name, one in inputs.items()}
    call(loss, inputs, gradients=with_gradient(loss), **OPTIONS[loss])
    for name, one in inputs.items():
        np.testing.assert_array_equal(one, before[name])


@pytest.mark.parametrize("loss", LOSSES)
def test_functions_say_what_they_take(loss):
    function = getattr(vlp.numpy, loss)
    parameters = inspect.signature(function).parameters
    described = library().losses[loss]
    inputs = [one.name for one in described.inputs]
    assert list(parameters)[:len(inputs)] == inputs
    assert list(parameters)[-3:] == ["outputs", "gradients", "threads"]
    for name, option in described.options.items():
        default = parameters[name.replace(".", "_")].default
        assert option.text(default) == option.default or float(option.text(default)) == float(option.default)
    assert function.__doc__ and all(f"    {name}: " in function.__doc__ for name in inputs)
    assert function.__module__ == "vlp.numpy" and function.__name__ == loss
    # The defaults that are shown are those that hold.
    inputs = inputs_of(loss)
    shown = {name: one.default for name, one in parameters.items()
             if one.kind is one.KEYWORD_ONLY and name not in ("outputs", "gradients", "threads")}
    assert call(loss, inputs, **shown) == call(loss, inputs)


def test_lists_and_scalars():
    rows = [[1, 0, 2], [0, 1, 1]]
    value, d_image, d_log_scale = vlp.numpy.info_nce(rows, rows, 1, group=[4, 9], gradients=["image", "log_scale"])
    assert value.dtype == d_image.dtype == np.float64
    assert isinstance(d_log_scale, np.float64)
    expected = vlp.numpy.info_nce(np.array(rows, float), np.array(rows, float), np.float32(1), np.array([4, 9]))
    assert value == expected
    assert vlp.numpy.info_nce(rows, rows, np.ones(1)) == expected
    assert vlp.numpy.perturbation_sensitivity([[1.0, 2]], [[[1, 2], [2, 1.0], [3, 3]]], 0.0, valid=[[1, 1, 0]]) == \
        vlp.numpy.perturbation_sensitivity([[1.0, 2]], [[[1, 2], [2, 1.0]]], 0.0)


def test_the_type_of_embeddings_is_that_of_the_computation():
    image, text = image_and_text()
    assert vlp.numpy.info_nce(image, text, np.float64(0.5)).dtype == np.float32
    assert vlp.numpy.info_nce(image, text, 0.5).dtype == np.float32
    result = vlp.numpy.info_nce(image, text.astype(np.float64), 0.5, gradients=("image", "text", "log_scale"))
    assert (result.loss.dtype, result.d_image.dtype, result.d_text.dtype) == (np.float64, np.float32, np.float64)


def test_halves_are_computed_in_single():
    image, text = image_and_text(np.float16)
    result = vlp.numpy.info_nce(image, text, 0.5, gradients=("image",))
    expected = vlp.numpy.info_nce(image.astype(np.float32), text.astype(np.float32), 0.5, gradients=("image",))
    assert result.loss == expected.loss and result.loss.dtype == np.float32
    assert result.d_image.dtype == np.float16
    np.testing.assert_array_equal(result.d_image, expected.d_image.astype(np.float16))


def test_bfloat16_is_computed_in_single():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes, which has bfloat16, is not installed")
    image, text = (one.astype(ml_dtypes.bfloat16) for one in image_and_text())
    result = vlp.numpy.info_nce(image, text, 0.5, gradients=("text",))
    assert result.loss == vlp.numpy.info_nce(image.astype(np.float32), text.astype(np.float32), 0.5)
    assert result.d_text.dtype == ml_dtypes.bfloat16


def strange_forms(array: np.ndarray) -> dict[str, np.ndarray]:
    """The same elements, in other places of memory."""
    rows, columns = array.shape
    wide = np.zeros((2 * rows, columns + 3), array.dtype)
    wide[::2, :columns] = array
    bytes_before = np.zeros(array.nbytes + 1, np.uint8)
    unaligned = bytes_before[1:].view(array.dtype).reshape(array.shape)
    unaligned[...] = array
    read_only = array.copy()
    read_only.flags.writeable = False
    return {"Fortran": np.asfortranarray(array), "rows apart": wide[::2, :columns], "unaligned": unaligned,
            "rows backwards": array[::-1].copy()[::-1], "columns backwards": array[:, ::-1].copy()[:, ::-1],
            "every other column": np.repeat(array, 2, axis=1)[:, ::2], "read-only": read_only,
            "big-endian": array.astype(array.dtype.newbyteorder(">"))}


@pytest.mark.parametrize("form", strange_forms(np.zeros((1, 1))))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_in_any_form(form, dtype):
    image, text = image_and_text(dtype)
    expected = vlp.numpy.info_nce(image, text, 0.5, gradients=("image", "text"))
    result = vlp.numpy.info_nce(strange_forms(image)[form], strange_forms(text)[form], 0.5, gradients=("image", "text"))
    assert result.loss == expected.loss
    for found, wanted in zip(result[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == dtype and found.flags.writeable and found.dtype.isnative


def test_arrays_of_rows_that_are_one_row():
    image, text = image_and_text(np.float64)
    one_row = np.broadcast_to(text[0], text.shape)
    assert not one_row.flags.writeable and one_row.strides[0] == 0
    result = vlp.numpy.info_nce(image, one_row, 0.5, gradients=("text",))
    expected = vlp.numpy.info_nce(image, one_row.copy(), 0.5, gradients=("text",))
    assert result.loss == pytest.approx(expected.loss, rel=1e-12)
    np.testing.assert_allclose(result.d_text, expected.d_text, rtol=1e-9, atol=1e-12)
    one_number = np.broadcast_to(1.0, (4, 3))
    assert vlp.numpy.info_nce(one_number, one_number, 0.0) == pytest.approx(np.log(4))


def test_perturbed_texts_in_any_form():
    inputs = inputs_of("multi_scale")
    options = {"perturbed_as_negatives": True, "alpha": 0.0}
    expected = call("multi_scale", inputs, **options)
    wide = np.zeros((5, 8, 6))
    wide[:, :4] = inputs["text"]
    tall = np.zeros((5, 8), bool)
    tall[:, :4] = inputs["valid"]
    assert call("multi_scale", {**inputs, "text": wide[:, :4], "valid": tall[:, :4]}, **options) == expected


def test_arrays_are_copied_only_where_they_have_to_be():
    array = np.zeros((4, 6))
    taken = {"Fortran": False, "rows apart": True, "unaligned": False, "rows backwards": False, "columns backwards": False,
             "every other column": False, "read-only": True, "big-endian": False}
    for form, one in strange_forms(array).items():
        assert (vlp.numpy._of_type(one, np.float64) is one) == taken[form], form
    assert vlp.numpy._of_type(array, np.float64) is array
    assert vlp.numpy._of_type(array, np.float32).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint8, np.uint16, np.uint32, np.uint64, ">i4"])
def test_whole_numbers_of_any_kind(dtype):
    inputs = inputs_of("info_nce")
    group = np.array([3, 1, 3, 5, 6])
    expected = call("info_nce", {**inputs, "group": group}, duplicate_policy="ignore")
    assert call("info_nce", {**inputs, "group": group.astype(dtype)}, duplicate_policy="ignore") == expected
    assert call("info_nce", {**inputs, "group": group[::-1].astype(dtype)[::-1]}, duplicate_policy="ignore") == expected
    assert call("info_nce", {**inputs, "group": None}, duplicate_policy="ignore") != expected


@pytest.mark.parametrize("convert", [np.uint8, np.int64, lambda one: one[::-1].copy()[::-1], lambda one: one.tolist()])
def test_validity_as_bool_or_whole_numbers(convert):
    inputs = inputs_of("info_nce")
    function = convert if not isinstance(convert, type) else lambda one: one.astype(convert) << (8 * np.dtype(convert).itemsize - 2)
    assert call("info_nce", {**inputs, "valid": function(inputs["valid"])}) == call("info_nce", inputs)


def test_further_outputs():
    inputs = inputs_of("multi_scale")
    result = call("multi_scale", inputs, alpha=0.3, beta=0.2, outputs=["attention", "global", "local", "perturbation", "similarity"],
                  gradients=["image"])
    assert result._fields == ("loss", "attention", "global_", "local", "perturbation", "similarity", "d_image")
    assert result.loss == pytest.approx(result.global_ + 0.3 * result.local + 0.2 * result.perturbation, rel=1e-14)
    assert result.attention.shape == (5, 3, 4) and result.similarity.shape == (5, 5)
    more_texts = call("local_alignment", inputs_of("local_alignment"), outputs=["similarity", "attention"])
    assert more_texts.similarity.shape == (5, 7) and more_texts.attention.shape == (5, 3, 4)
    for report, words in enumerate(inputs["word_count"]):
        np.testing.assert_allclose(result.attention[report].sum(1), [1] * words + [0] * (3 - words), atol=1e-12)


def test_numbers_of_the_host():
    inputs = inputs_of("info_nce")
    image, text, scale = inputs["image"], inputs["text"], inputs["log_scale"]
    own = vlp.numpy.info_nce(image, text, scale, own_text=2)
    assert own == vlp.numpy.info_nce(image, np.roll(text, -2, axis=0), scale)
    assert vlp.numpy.info_nce(image, text, scale, own_text=np.int32(2)) == own
    halves = [vlp.numpy.pairwise_sigmoid(image[first:last], text, scale, -1.0, images=5, first_image=first)
              for first, last in ((0, 2), (2, 5))]
    assert sum(halves) == pytest.approx(vlp.numpy.pairwise_sigmoid(image, text, scale, -1.0), rel=1e-13)


def test_gradients_are_of_the_caller():
    image, text = image_and_text()
    first = vlp.numpy.info_nce(image, text, 0.5, gradients=("image",))
    kept = first.d_image.copy()
    vlp.numpy.info_nce(2 + image, text, 0.5, gradients=("image",))
    np.testing.assert_array_equal(first.d_image, kept)
    first.d_image[...] = 0


@pytest.mark.parametrize("arguments, error, sentence", [
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 4)), log_scale=0.0), ValueError,
     "info_nce: image is 2 x 3 but text is 2 x 4"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3))), ValueError, "info_nce: log_scale is not given"),
    (dict(image=np.zeros(3), text=np.zeros((2, 3)), log_scale=0.0), ValueError, "info_nce: image has 1 dimensions, not 2"),
    (dict(image=np.zeros((0, 3)), text=np.zeros((0, 3)), log_scale=0.0), ValueError, "every extent must be at least 1"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=[1.0, 2.0]), ValueError, "log_scale has 1 dimensions"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, group=[1]), ValueError, "group has 1 ids"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, label_smoothing=1.0), ValueError,
     "label_smoothing must be in"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, threads=-1), ValueError, "threads must be from 0"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, outputs=("attention",)), ValueError,
     "outputs has no 'attention'"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, gradients=("group",)), ValueError,
     "gradients has no 'group'"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, gradients=("text", "text")), ValueError, "twice"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, gradients="text"), TypeError, "in a list or tuple"),
    (dict(text=np.zeros((2, 3)), log_scale=0.0, gradients=("image",)), ValueError, "image is not given"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, group=np.array([2**63, 1], np.uint64)), ValueError,
     "group has 9223372036854775808, which is beyond int64"),
    (dict(image=np.zeros((2, 3), complex), text=np.zeros((2, 3)), log_scale=0.0), TypeError,
     "info_nce: image must be of float64, float32 or float16, but is of complex128"),
    (dict(image=np.zeros((2, 3), np.longdouble), text=np.zeros((2, 3)), log_scale=0.0), TypeError, "image must be of float64"),
    (dict(image=np.zeros((2, 3), bool), text=np.zeros((2, 3)), log_scale=0.0), TypeError, "but is of bool"),
    (dict(image=[["a"]], text=np.zeros((2, 3)), log_scale=0.0), TypeError, "image must be of float64"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, group=[1.0, 2.0]), TypeError, "group must be of whole"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, valid=[1.0, 0.0]), TypeError, "valid must be of bool"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, temperature=1), TypeError, "has no argument temperature"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, label_smoothing="0.1"), TypeError,
     "label_smoothing must be a number"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, label_smoothing=True), TypeError, "must be a number"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, own_text=1.5), TypeError, "must be a whole number"),
    (dict(image=np.zeros((2, 3)), text=np.zeros((2, 3)), log_scale=0.0, own_text=True), TypeError, "must be a whole number"),
])
def test_what_is_refused(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        vlp.numpy.info_nce(**arguments)


def test_nothing_at_all_is_refused_by_name():
    nothing = np.zeros((0, 3))
    for gradients in ((), ("image",)):
        with pytest.raises(ValueError, match="pairwise_sigmoid: image is 0 x 3, but every extent must be at least 1"):
            vlp.numpy.pairwise_sigmoid(nothing, nothing, 0.0, 0.0, gradients=gradients)
    with pytest.raises(ValueError, match="local_alignment: attention needs regions"):
        vlp.numpy.local_alignment(nothing, nothing, outputs=("attention",))


def test_arguments_that_are_too_many_or_given_twice():
    image, text = image_and_text()
    with pytest.raises(TypeError, match="takes 5 arrays in order, but 6 are given"):
        vlp.numpy.info_nce(image, text, 0.0, None, None, None)
    with pytest.raises(TypeError, match="got text both in order and by name"):
        vlp.numpy.info_nce(image, text, 0.0, text=text)


def test_values_that_are_refused():
    inputs = inputs_of("local_alignment")
    for count in (0, 4, -1):
        with pytest.raises(ValueError, match=f"word_count of report 0 is {count}, not in 1 to 3"):
            call("local_alignment", {**inputs, "word_count": [count] + [1] * 6})


def test_values_without_end_do_not_end_the_process():
    image, text = image_and_text()
    image[0, 0] = np.nan
    assert np.isnan(vlp.numpy.info_nce(image, text, 0.5))
    image[0, 0] = np.inf
    assert not np.isfinite(vlp.numpy.info_nce(image, text, 0.5, gradients=("image",)).d_image).all()


def test_threads_give_the_same_bits():
    random = np.random.default_rng(2)
    image, text = random.standard_normal((2, 300, 32)).astype(np.float32)
    results = [vlp.numpy.info_nce(image, text, 1.0, gradients=("image",), threads=threads) for threads in (1, 2, 3)]
    for result in results[1:]:
        assert result.loss == results[0].loss
        np.testing.assert_array_equal(result.d_image, results[0].d_image)


def test_calls_side_by_side():
    inputs = [inputs_of("local_alignment", seed) for seed in range(4)]
    expected = [call("local_alignment", one, gradients=("words",)) for one in inputs]
    wrong = []

    def work(i: int) -> None:
        for _ in range(30):
            result = call("local_alignment", inputs[i], gradients=("words",))
            if result.loss != expected[i].loss or not np.array_equal(result.d_words, expected[i].d_words):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_functions_can_be_pickled():
    assert pickle.loads(pickle.dumps(vlp.numpy.info_nce)) is vlp.numpy.info_nce
