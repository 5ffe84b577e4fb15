"""vlp.jax: every loss and its gradients, under jit and grad, and what is refused."""
from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")
pytest.importorskip("jax_tvm_ffi", reason="jax-tvm-ffi is not installed")

import jax.numpy as jnp  # noqa: E402
from losses import OPTIONS, inputs_of  # noqa: E402

import vlp.jax  # noqa: E402
import vlp.numpy  # noqa: E402
from vlp._library import library  # noqa: E402

LOSSES = list(library().losses)


def with_gradient(loss: str) -> list[str]:
    return [one.name for one in library().losses[loss].inputs if one.gradient]


def single(loss: str) -> dict[str, np.ndarray]:
    """Inputs of a loss without a number of 64 bits that JAX would cut."""
    return {name: one.astype(np.float32) if one.dtype == np.float64 else one for name, one in inputs_of(loss).items()}


def function_of(loss: str, rest: dict[str, Any], **options: Any) -> Any:
    """The loss as a function of the inputs that have gradients."""
    return lambda inputs: getattr(vlp.jax, loss)(**inputs, **rest, **options)


def split(loss: str, inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs that have gradients, as JAX's arrays, and the others."""
    names = with_gradient(loss)
    return ({name: jnp.asarray(inputs[name]) for name in names},
            {name: one for name, one in inputs.items() if name not in names})


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_gradients_are_those_of_numpy(loss, x64, jit):
    """Those of vlp.numpy are tested against definitions and central differences."""
    inputs, options, names = inputs_of(loss) if x64 else single(loss), OPTIONS[loss], with_gradient(loss)
    expected = getattr(vlp.numpy, loss)(**inputs, gradients=names, **options)
    with jax.enable_x64(x64):
        given, rest = split(loss, inputs)
        function = jax.value_and_grad(function_of(loss, rest, **options))
        value, gradients = (jax.jit(function) if jit else function)(given)
    assert value.dtype == (jnp.float64 if x64 else jnp.float32) and value.shape == ()
    tolerance = 1e-13 if x64 else 1e-6
    np.testing.assert_allclose(value, expected.loss, rtol=tolerance)
    for name in names:
        assert gradients[name].dtype == value.dtype
        np.testing.assert_allclose(gradients[name], getattr(expected, f"d_{name}"), rtol=tolerance, atol=tolerance / 10,
                                   err_msg=name)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_gradient_alone(loss):
    given, rest = split(loss, single(loss))
    together = jax.grad(function_of(loss, rest))(given)
    for name, one in given.items():
        alone = jax.grad(lambda value: function_of(loss, rest)({**given, name: value}))(one)
        np.testing.assert_allclose(alone, together[name], rtol=1e-5, atol=1e-7, err_msg=name)


def pair() -> tuple[jax.Array, jax.Array]:
    inputs = single("info_nce")
    return jnp.asarray(inputs["image"]), jnp.asarray(inputs["text"])


def test_functions_say_what_they_take():
    for loss in LOSSES:
        function = getattr(vlp.jax, loss)
        parameters = list(inspect.signature(function).parameters)
        assert parameters[:-1] == list(inspect.signature(getattr(vlp.numpy, loss)).parameters)[:-2]
        assert parameters[-2:] == ["outputs", "threads"]
        assert all(f"    {one.name}: " in function.__doc__ for one in library().losses[loss].inputs)
    assert set(vlp.jax.__all__) == set(LOSSES)


def test_upstream_multiplies_gradients():
    image, text = pair()
    plain = jax.grad(lambda image: vlp.jax.info_nce(image, text, 0.5))(image)
    scaled = jax.grad(lambda image: 3 * vlp.jax.info_nce(image, text, 0.5) + 1)(image)
    np.testing.assert_allclose(scaled, 3 * plain, rtol=1e-6)
    value, back = jax.vjp(lambda image: vlp.jax.info_nce(image, text, 0.5), image)
    np.testing.assert_allclose(back(jnp.float32(-2))[0], -2 * plain, rtol=1e-6)


def test_grad_inside_jit_and_jit_inside_grad():
    image, text = pair()
    loss = lambda image: vlp.jax.local_alignment(image[:, None], text[:, None])  # noqa: E731
    plain = jax.grad(loss)(image)
    inside = jax.jit(lambda image: 2 * jax.grad(loss)(image))(image)
    outside = jax.grad(jax.jit(loss))(image)
    np.testing.assert_allclose(inside, 2 * plain, rtol=1e-6)
    np.testing.assert_allclose(outside, plain, rtol=1e-6)


def test_two_losses_of_one_embedding_add_up():
    image, text = pair()

    def both(image: jax.Array) -> jax.Array:
        return vlp.jax.info_nce(image, text, 0.5) + 2 * vlp.jax.pairwise_sigmoid(image, text, 0.5, -1.0)

    one, two = (jax.grad(lambda image: loss(image, text, 0.5, *bias))(image)
                for loss, bias in ((vlp.jax.info_nce, ()), (vlp.jax.pairwise_sigmoid, (-1.0,))))
    np.testing.assert_allclose(jax.jit(jax.grad(both))(image), one + 2 * two, rtol=1e-5, atol=1e-7)


def test_inside_scan_and_checkpoint():
    image, text = pair()
    batches = jnp.stack([image, 2 + image, image[::-1]])

    def total(scale: jax.Array) -> jax.Array:
        step = jax.checkpoint(lambda sum, batch: (sum + vlp.jax.info_nce(batch, text, scale), None))
        return jax.lax.scan(step, jnp.float32(0), batches)[0]

    value, gradient = jax.jit(jax.value_and_grad(total))(jnp.float32(0.5))
    each = [jax.value_and_grad(lambda scale: vlp.jax.info_nce(batch, text, scale))(jnp.float32(0.5)) for batch in batches]
    np.testing.assert_allclose(value, sum(one for one, _ in each), rtol=1e-6)
    np.testing.assert_allclose(gradient, sum(one for _, one in each), rtol=1e-5)
    mapped = jax.lax.map(lambda batch: vlp.jax.info_nce(batch, text, 0.5), batches)
    np.testing.assert_allclose(mapped, [one for one, _ in each], rtol=1e-6)


def test_training_lowers_the_loss():
    random = np.random.default_rng(5)
    seen, read = (jnp.asarray(random.standard_normal((16, 12)), jnp.float32) for _ in range(2))
    parameters = {"image": jnp.asarray(random.standard_normal((12, 8)), jnp.float32),
                  "text": jnp.asarray(random.standard_normal((12, 8)), jnp.float32), "log_scale": jnp.float32(1)}

    def objective(parameters: dict[str, jax.Array]) -> jax.Array:
        return vlp.jax.info_nce(seen @ parameters["image"], read @ parameters["text"], parameters["log_scale"])

    @jax.jit
    def step(parameters: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        value, gradient = jax.value_and_grad(objective)(parameters)
        return value, jax.tree.map(lambda one, d_one: one - d_one, parameters, gradient)

    first, parameters = step(parameters)
    for _ in range(100):
        value, parameters = step(parameters)
    assert float(value) < 0.5 * float(first)


def test_further_outputs():
    inputs = single("multi_scale")
    given, rest = split("multi_scale", inputs)
    names = ("attention", "global", "similarity")
    loss = function_of("multi_scale", rest, outputs=names)
    result = jax.jit(loss)(given)
    expected = vlp.numpy.multi_scale(**inputs, outputs=names)
    assert result._fields == expected._fields == ("loss", "attention", "global_", "similarity")
    for found, wanted in zip(result, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
    (value, attention), gradient = jax.value_and_grad(lambda inputs: loss(inputs)[:2], has_aux=True)(given)
    np.testing.assert_allclose(attention, expected.attention, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradient["image"], jax.grad(function_of("multi_scale", rest))(given)["image"], rtol=1e-6)
    assert not jax.grad(lambda inputs: loss(inputs).attention.sum())(given)["regions"].any()


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("traced", [False, True])
def test_whole_numbers_survive(x64, traced):
    inputs = single("info_nce")
    image, text = inputs["image"], inputs["text"]
    if x64 or not traced:  # 64 bits, of which the lower half alone would say that all texts are one
        group = np.array([2**40, 3 * 2**40, -2**40, 2**40, 5 * 2**40])
    else:
        group = np.array([2, 3, -2**31, 2, 5], np.int32)
    expected = vlp.numpy.info_nce(image, text, 0.5, group, duplicate_policy="ignore")
    with jax.enable_x64(x64):
        if traced:
            value = jax.jit(lambda group: vlp.jax.info_nce(image, text, 0.5, group, duplicate_policy="ignore"))(group)
        else:
            value = vlp.jax.info_nce(image, text, 0.5, group, duplicate_policy="ignore")
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert abs(value - vlp.jax.info_nce(image, text, 0.5)) > 1e-3


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.int16, jnp.int32, jnp.uint8, jnp.uint16, jnp.uint32])
def test_whole_numbers_of_any_kind(dtype):
    inputs = single("token_cross_entropy")
    target = jnp.asarray([0, 8, 100, 3, 3, 100], dtype)
    value = jax.jit(lambda target: vlp.jax.token_cross_entropy(**{**inputs, "target": target}, ignore_index=100))(target)
    np.testing.assert_allclose(value, vlp.numpy.token_cross_entropy(**inputs), rtol=1e-6)


def test_two_whole_numbers_are_not_taken_for_one():
    inputs = single("info_nce")
    image, text = inputs["image"][:2], inputs["text"][:2]
    for group in ([1, 1], [1, 2]):
        value = vlp.jax.info_nce(image, text, 0.5, jnp.asarray(group, jnp.int32), duplicate_policy="positives")
        np.testing.assert_allclose(value, vlp.numpy.info_nce(image, text, 0.5, group, duplicate_policy="positives"), rtol=1e-6)


def test_the_index_to_ignore_is_below_zero():
    inputs = single("token_cross_entropy")
    target = jnp.asarray(inputs["target"])
    assert (target == -100).sum() == 2
    value, gradient = jax.jit(jax.value_and_grad(
        lambda hidden, target: vlp.jax.token_cross_entropy(hidden, inputs["weight"], inputs["bias"], target)))(
            inputs["hidden"], target)
    expected = vlp.numpy.token_cross_entropy(**inputs, gradients=("hidden",))
    np.testing.assert_allclose(value, expected.loss, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected.d_hidden, rtol=1e-5, atol=1e-7)
    assert not gradient[np.array([2, 5])].any()


def test_the_index_to_ignore_is_beyond_31_bits():
    inputs = single("token_cross_entropy")
    target = jnp.asarray([0, 8, 2**31 + 5, 3, 3, 2**31 + 5], jnp.uint32)
    value = jax.jit(lambda target: vlp.jax.token_cross_entropy(**{**inputs, "target": target}, ignore_index=2**31 + 5))(target)
    np.testing.assert_allclose(value, vlp.numpy.token_cross_entropy(**inputs), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("loss", ["info_nce", "pairwise_sigmoid", "local_alignment"])
def test_halves_are_computed_in_single(loss, dtype):
    given, rest = split(loss, single(loss))
    halves = {name: one.astype(dtype) if one.ndim > 0 else one for name, one in given.items()}
    value, gradients = jax.jit(jax.value_and_grad(function_of(loss, rest)))(halves)
    expected, expected_gradients = jax.value_and_grad(function_of(loss, rest))(
        {name: one.astype(jnp.float32) for name, one in halves.items()})
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for name, gradient in gradients.items():
        assert gradient.dtype == halves[name].dtype
        np.testing.assert_allclose(gradient.astype(jnp.float32), expected_gradients[name].astype(gradient.dtype).astype(jnp.float32),
                                   rtol=1e-2, atol=1e-6)


def test_double_needs_x64():
    image, text = inputs_of("info_nce")["image"], inputs_of("info_nce")["text"]
    assert vlp.jax.info_nce(image, text, 0.5).dtype == jnp.float32  # as of all of JAX
    with jax.enable_x64(True):
        value = vlp.jax.info_nce(image, text, 0.5)
        assert value.dtype == jnp.float64
        assert vlp.jax.info_nce(image.astype(np.float32), text.astype(np.float32), 0.5).dtype == jnp.float32
        np.testing.assert_allclose(value, vlp.numpy.info_nce(image, text, 0.5), rtol=1e-14)
        mixed = vlp.jax.info_nce(image.astype(np.float32), text, 0.5)
        assert mixed.dtype == jnp.float64
        np.testing.assert_allclose(mixed, vlp.numpy.info_nce(image.astype(np.float32), text, 0.5), rtol=1e-14)


def test_numbers_and_options_are_constants():
    image, text = pair()
    values = {own: vlp.jax.info_nce(image, text, 0.5, own_text=own) for own in (0, 2)}
    assert values[0] != values[2]
    np.testing.assert_allclose(values[2], vlp.numpy.info_nce(np.asarray(image), np.asarray(text), 0.5, own_text=2), rtol=1e-6)
    with pytest.raises(TypeError, match="label_smoothing must be a number"):
        jax.jit(lambda smoothing: vlp.jax.info_nce(image, text, 0.5, label_smoothing=smoothing))(0.1)


def test_the_same_call_takes_no_further_place():
    import jax_tvm_ffi

    image, text = pair()
    call = lambda: jax.grad(lambda image: vlp.jax.info_nce(image, text, 0.5, label_smoothing=0.123))(image)  # noqa: E731
    before = jax_tvm_ffi.registered_count()
    call()
    assert jax_tvm_ffi.registered_count() <= before + 2
    after = jax_tvm_ffi.registered_count()
    for rows in (5, 4, 3):
        jax.grad(lambda image: vlp.jax.info_nce(image, text, 0.5, label_smoothing=0.123))(image[:rows])
    assert jax_tvm_ffi.registered_count() == after


@pytest.mark.parametrize("change, error, sentence", [
    (dict(text=np.zeros((5, 4), np.float32)), ValueError, "info_nce: image is 5 x 6 but text is 5 x 4"),
    (dict(log_scale=None), ValueError, "info_nce: log_scale is not given"),
    (dict(image=np.zeros(6, np.float32)), ValueError, "image has 1 dimensions, not 2"),
    (dict(image=np.zeros((0, 6), np.float32)), ValueError, "every extent must be at least 1"),
    (dict(group=np.zeros(3, np.int64)), ValueError, "group has 3 ids"),
    (dict(group=np.zeros((5, 2), np.int64)), ValueError, "group has 2 dimensions"),
    (dict(valid=np.ones(2, bool)), ValueError, "valid has 2 elements"),
    (dict(label_smoothing=1.0), ValueError, "label_smoothing must be in"),
    (dict(own_text=5), ValueError, "but there are 7 texts"),
    (dict(outputs=("attention",)), ValueError, "outputs has no 'attention'"),
    (dict(group=np.zeros(5)), TypeError, "group must be of whole numbers"),
    (dict(valid=np.zeros(7)), TypeError, "valid must be of bool"),
    (dict(image=np.zeros((5, 6), complex)), TypeError, "image must be of floating-point numbers"),
    (dict(temperature=1), TypeError, "has no argument temperature"),
])
def test_what_is_refused_when_it_is_traced(change, error, sentence):
    arguments = {**single("info_nce"), **change}
    arrays = {name: one for name, one in arguments.items() if isinstance(one, np.ndarray)}
    rest = {name: one for name, one in arguments.items() if name not in arrays}
    with pytest.raises(error, match=sentence):
        jax.jit(lambda arrays: vlp.jax.info_nce(**arrays, **rest)).lower(arrays)
    with pytest.raises(error, match=sentence):
        vlp.jax.info_nce(**arguments)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if "image" in inputs_of(loss)])
def test_shapes_are_refused_when_a_gradient_is_traced(loss):
    given, rest = split(loss, single(loss))
    with pytest.raises(ValueError, match="image is 5 x 4 but text is"):
        jax.jit(jax.grad(function_of(loss, rest))).lower({**given, "image": given["image"][:, :4]})


def test_values_that_are_refused_when_the_program_runs():
    inputs = single("local_alignment")
    counts = jnp.asarray([0] + [1] * 6)
    with pytest.raises(jax.errors.JaxRuntimeError, match="word_count of report 0 is 0, not in 1 to 3"):
        jax.jit(lambda counts: vlp.jax.local_alignment(**{**inputs, "word_count": counts}))(counts).block_until_ready()


def test_vmap_is_refused_by_name():
    image, text = pair()
    images = jnp.stack([image, image])
    with pytest.raises(NotImplementedError, match=r"vlp\.jax\.info_nce: has no vmap"):
        jax.vmap(lambda image: vlp.jax.info_nce(image, text, 0.5))(images)
    with pytest.raises(NotImplementedError, match=r"vlp\.jax\.pairwise_sigmoid: has no vmap"):
        jax.jit(jax.vmap(jax.grad(lambda image: vlp.jax.pairwise_sigmoid(image, text, 0.5, 0.0))))(images)
    jax.vmap(lambda number: number * vlp.jax.info_nce(image, text, 0.5))(jnp.ones(3))  # nothing of the loss is mapped


def test_forward_mode_and_second_derivatives_are_refused():
    image, text = pair()
    loss = lambda image: vlp.jax.info_nce(image, text, 0.5)  # noqa: E731
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss, (image,), (image,))
    for twice in (jax.grad(lambda image: jax.grad(loss)(image).sum()), jax.hessian(loss), jax.jacfwd(jax.grad(loss))):
        with pytest.raises((NotImplementedError, TypeError), match="second derivatives|forward-mode"):
            twice(image)


def test_values_without_end_stay():
    image, text = pair()
    assert jnp.isnan(vlp.jax.info_nce(image.at[0, 0].set(jnp.nan), text, 0.5))


def test_sharded_arrays_are_gathered():
    code = """if True:
        import jax, numpy as np, vlp.jax, vlp.numpy
        from jax.sharding import NamedSharding, PartitionSpec
        mesh = jax.make_mesh((2,), ("pairs",))
        image, text = np.random.default_rng(0).standard_normal((2, 8, 6)).astype(np.float32)
        parts = [jax.device_put(one, NamedSharding(mesh, PartitionSpec("pairs"))) for one in (image, text)]
        value, gradient = jax.jit(jax.value_and_grad(lambda image, text: vlp.jax.info_nce(image, text, 0.5)))(*parts)
        expected = vlp.numpy.info_nce(image, text, 0.5, gradients=("image",))
        np.testing.assert_allclose(value, expected.loss, rtol=1e-6)
        np.testing.assert_allclose(gradient, expected.d_image, rtol=1e-5, atol=1e-7)"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                         env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"})
    assert out.returncode == 0, out.stderr


def test_other_devices_are_refused_by_name(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with pytest.raises(NotImplementedError, match="computes on the CPU and on CUDA devices, not on tpu"):
        vlp.jax.distillation([[1.0]], [[2.0]])
