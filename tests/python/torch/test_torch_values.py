"""Values and gradients of the losses in PyTorch, against their definitions and the golden vectors."""
import unittest.mock
from pathlib import Path

import numpy
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import definitions

from vlp.torch import functional
from vlp.torch._losses import LOSSES

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted(path.parent for path in GOLDEN.glob("*/*/options.txt"))


def gradients_of(function, inputs, keywords):
    """The loss, and the gradients of all floating-point inputs by name."""
    leaves = {name: one.detach().clone().requires_grad_(one.is_floating_point()) for name, one in inputs.items()}
    loss = function(**leaves, **keywords)
    loss.backward()
    return loss.detach(), {name: one.grad for name, one in leaves.items() if one.grad is not None}


def compare(name, inputs, keywords, tolerance=1e-10):
    loss, gradients = gradients_of(getattr(functional, name), inputs, keywords)
    wanted_loss, wanted = gradients_of(getattr(definitions, name), inputs, keywords)
    torch.testing.assert_close(loss, wanted_loss, rtol=tolerance, atol=tolerance)
    wanted.pop("teacher", None)
    assert gradients.keys() == wanted.keys()
    for key in wanted:
        torch.testing.assert_close(gradients[key], wanted[key], rtol=tolerance, atol=tolerance,
                                   msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", definitions.NAMES)
def test_every_loss_is_its_definition(name):
    compare(name, *definitions.batch(name))


@pytest.mark.parametrize("name", definitions.NAMES)
def test_every_loss_has_defaults(name):
    inputs, keywords = definitions.batch(name)
    for optional in ("group", "valid", "word_count", "bias") if name != "pairwise_sigmoid" else ("group", "valid"):
        inputs.pop(optional, None)
    if "target" in inputs:
        inputs["target"] = inputs["target"].clamp_min(0)
    compare(name, inputs, {})


@pytest.mark.parametrize("name", definitions.NAMES)
def test_float32_has_gradients_of_its_type(name):
    inputs, keywords = definitions.batch(name)
    single = {key: one.float() if one.is_floating_point() else one for key, one in inputs.items()}
    loss, gradients = gradients_of(getattr(functional, name), single, keywords)
    wanted_loss, wanted = gradients_of(getattr(definitions, name), inputs, keywords)
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss.double(), wanted_loss, rtol=2e-5, atol=1e-6)
    for key, one in gradients.items():
        assert one.dtype is torch.float32
        torch.testing.assert_close(one.double(), wanted[key], rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["negatives", "positives", "ignore"])
@pytest.mark.parametrize("name", ["info_nce", "pairwise_sigmoid"])
@pytest.mark.parametrize("ids", [5, 8])
def test_groups(name, policy, ids):
    inputs, _ = definitions.batch(name)
    inputs["group"] = inputs["group"][:ids]
    compare(name, inputs, {"duplicate_policy": policy})


@pytest.mark.parametrize("name", ["info_nce", "local_alignment"])
def test_margin_of_false_negatives(name):
    inputs, _ = definitions.batch(name)
    inputs.pop("valid", None)
    loss = getattr(functional, name)(**inputs)
    assert getattr(functional, name)(**inputs, false_negative_margin=0.05) < loss
    compare(name, inputs, {"false_negative_margin": 0.05})


def test_numbers_say_which_text_is_an_image_s_own():
    inputs, _ = definitions.batch("info_nce")
    inputs = {**inputs, "image": inputs["image"][:3]}
    del inputs["group"]
    compare("info_nce", inputs, {"own_text": 1, "own_text_step": 2})


def test_shares_of_a_batch_add_up():
    inputs, _ = definitions.batch("pairwise_sigmoid")
    whole, wanted = gradients_of(functional.pairwise_sigmoid, inputs, {})
    shares = [gradients_of(functional.pairwise_sigmoid, {**inputs, "image": inputs["image"][rows],
                                                         "text": inputs["text"][columns]},
                           {"images": 5, "texts": 8, "first_image": rows.start, "first_text": columns.start})
              for rows in (slice(0, 2), slice(2, 5)) for columns in (slice(0, 3), slice(3, 8))]
    torch.testing.assert_close(sum(loss for loss, _ in shares), whole)
    torch.testing.assert_close(sum(one["log_scale"] for _, one in shares), wanted["log_scale"])
    torch.testing.assert_close(shares[2][1]["image"] + shares[3][1]["image"], wanted["image"][2:])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_golden_vectors(case):
    def load(path):
        array = numpy.load(path)
        return torch.from_numpy(array if array.dtype == numpy.float64 or array.dtype == bool else array.astype("int64"))

    inputs = {path.stem: load(path) for path in case.glob("*.npy")}
    wanted = {key.removeprefix("d_"): inputs.pop(key) for key in list(inputs) if key.startswith("d_")}
    wanted_loss = inputs.pop("loss").reshape(())
    outputs = {key: inputs.pop(key) for key in ("similarity", "attention") if key in inputs}
    inputs = {key: one.reshape(()) if key.endswith("log_scale") else one for key, one in inputs.items()}
    defaults = {"ignore_index": int, "duplicate_policy": str}
    keywords = {key: defaults.get(key, float)(value) for key, value in
                (line.split() for line in (case / "options.txt").read_text().splitlines())}
    loss, gradients = gradients_of(getattr(functional, case.parent.name), inputs, keywords)
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-10, atol=1e-12)
    for key, one in wanted.items():
        torch.testing.assert_close(gradients[key].reshape(one.shape), one, rtol=1e-10, atol=1e-12)
    if outputs:
        result = getattr(functional, case.parent.name)(**inputs, **keywords, outputs=tuple(outputs))
        torch.testing.assert_close(result[1:], tuple(outputs.values()), rtol=1e-10, atol=1e-12)


def test_outputs():
    inputs, _ = definitions.batch("local_alignment")
    result = functional.local_alignment(**inputs, outputs=("attention", "similarity"))
    assert result._fields == ("loss", "attention", "similarity")
    similarity, attention = definitions.local_scores(inputs["regions"], inputs["words"], inputs["word_count"], 4.0, 5.0,
                                                     10.0)
    torch.testing.assert_close(result.similarity, similarity)
    torch.testing.assert_close(result.attention, attention)
    assert result.loss == functional.local_alignment(**inputs)

    inputs["words"].requires_grad_()
    loss, similarity = functional.local_alignment(**inputs, outputs=["similarity"])
    assert loss.requires_grad and not similarity.requires_grad
    torch.testing.assert_close(similarity, result.similarity)


def test_terms_of_the_objective():
    inputs, _ = definitions.batch("multi_scale")
    result = functional.multi_scale(**inputs, alpha=0.3, beta=0.2,
                                    outputs=("perturbation", "global", "local", "attention"))
    torch.testing.assert_close(result.loss, result.global_ + 0.3 * result.local + 0.2 * result.perturbation)
    torch.testing.assert_close(result.perturbation, definitions.perturbation_sensitivity(
        inputs["image"], inputs["text"], inputs["perturbation_log_scale"], inputs["valid"]))
    torch.testing.assert_close(result.attention, functional.local_alignment(
        inputs["regions"], inputs["words"], inputs["word_count"], outputs=("attention",)).attention)


def test_terms_of_weight_0_are_not_looked_at():
    inputs, _ = definitions.batch("multi_scale")
    loss = functional.multi_scale(inputs["image"], inputs["text"], inputs["log_scale"], alpha=0, beta=0)
    torch.testing.assert_close(loss, functional.info_nce(inputs["image"], inputs["text"][:, 0], inputs["log_scale"]))


@pytest.mark.parametrize("name", ["pairwise_sigmoid", "token_cross_entropy"])
def test_losses_that_compute_gradients_with_the_loss(name):
    loss = LOSSES[name]
    assert loss.at_once(torch.ones(1)) and loss.at_once(torch.ones(1, dtype=torch.bfloat16))
    assert not loss.at_once(torch.ones(1, dtype=torch.float16))  # has not the range to multiply upstream in later
    assert not LOSSES["info_nce"].at_once(torch.ones(1))
    inputs, keywords = definitions.batch(name)
    together = gradients_of(getattr(functional, name), inputs, keywords)
    with unittest.mock.patch.object(loss, "at_once", lambda first: False):
        apart = gradients_of(getattr(functional, name), inputs, keywords)
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)
