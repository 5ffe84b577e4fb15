"""What the losses refuse in PyTorch: one sentence each, and never an abort."""
import math
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import definitions

from vlp.torch import functional


def info_nce(**changed):
    inputs, keywords = definitions.batch("info_nce")
    return functional.info_nce(**{**inputs, **keywords, **changed})


@pytest.mark.parametrize("changed, sentence", [
    ({"image": [[1.0]]}, "info_nce: image must be a tensor, but is of type list"),
    ({"image": None}, "info_nce: image is not given"),
    ({"log_scale": None}, "info_nce: log_scale is not given"),
    ({"text": "report"}, "info_nce: text must be a tensor, but is of type str"),
    ({"log_scale": "1"}, "info_nce: log_scale must be a tensor, but is of type str"),
    ({"log_scale": True}, "info_nce: log_scale must be a tensor, but is of type bool"),
    ({"group": [1, 2, 3, 4, 5]}, "info_nce: group must be a tensor, but is of type list"),
    ({"image": torch.ones(5, 7, dtype=torch.int32)},
     "info_nce: image must have elements of a floating-point type, but they are of type int32"),
    ({"image": torch.ones(5, 7, dtype=torch.complex64)},
     "info_nce: image must have elements of a floating-point type, but they are of type complex64"),
    ({"text": torch.ones(8, 7)},
     "info_nce: text has elements of type float32, but those of image are of type float64"),
    ({"group": torch.ones(8)}, "info_nce: group must have elements of an integer type, but they are of type float32"),
    ({"valid": torch.ones(8)},
     "info_nce: valid must have elements of type bool or of an integer type, but they are of type float32"),
    ({"text": torch.ones(8, 7, dtype=torch.float64, device="meta")},
     "info_nce: text is on meta, but tensors before it are on cpu"),
    ({"log_scale": torch.ones((), dtype=torch.float64, device="meta")},
     "info_nce: log_scale is on meta, but tensors before it are on cpu"),
    ({"image": torch.eye(5, 7, dtype=torch.float64).to_sparse()},
     "info_nce: image must be dense, but its layout is sparse_coo"),
    ({"image": torch.eye(5, 7, dtype=torch.float64).to_sparse_csr()},
     "info_nce: image must be dense, but its layout is sparse_csr"),
    ({"label_smoothing": "0.1"}, "label_smoothing must be a number, but is '0.1'"),
    ({"duplicate_policy": 1}, "duplicate_policy must be a choice, but is 1"),
    ({"own_text": 0.5}, "info_nce: own_text must be a whole number, but is of type float"),
])
def test_wrong_kinds(changed, sentence):
    kind = ValueError if "is not given" in sentence else TypeError
    with pytest.raises(kind) as error:
        info_nce(**changed)
    assert str(error.value).startswith(sentence) and "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:.*quant.*")
def test_quantised_tensors():
    image = torch.quantize_per_tensor(torch.ones(5, 7), 0.1, 0, torch.quint8)
    with pytest.raises(TypeError, match="info_nce: image must have elements of a floating-point type"):
        info_nce(image=image)


@pytest.mark.parametrize("changed, sentence", [
    ({"image": torch.ones(0, 7, dtype=torch.float64)},
     "info_nce: image is 0 x 7, but every extent must be at least 1"),
    ({"text": None}, "info_nce: text is 0 x 0, but every extent must be at least 1"),
    ({"image": torch.ones(7, dtype=torch.float64)}, "info_nce: image has 1 dimensions, not 2"),
    ({"image": torch.ones((), dtype=torch.float64)}, "info_nce: image has 0 dimensions, not 2"),
    ({"image": torch.ones(5, 6, dtype=torch.float64)}, "info_nce: image is 5 x 6 but text is 8 x 7"),
    ({"group": torch.ones(3, dtype=torch.int64)}, "info_nce: group has 3 ids but the batch has 5 images and 8 texts"),
    ({"log_scale": torch.ones(2)}, "info_nce: log_scale has 1 dimensions, not 0"),
    ({"label_smoothing": 1.5}, "info_nce: label_smoothing must be in [0, 1), but is 1.5"),
    ({"label_smoothing": math.nan}, "info_nce: label_smoothing must be in [0, 1), but is "),
    ({"duplicate_policy": "drop"}, "info_nce: duplicate_policy "),
    ({"own_text_step": 0}, "info_nce: own_text must be at least 0 and own_text_step at least 1"),
])
def test_what_does_not_fit(changed, sentence):
    for requires_grad in (False, True):
        if changed.get("log_scale") is None:
            changed = {**changed, "log_scale": torch.ones((), dtype=torch.float64, requires_grad=requires_grad)}
        with pytest.raises(ValueError) as error:
            info_nce(**changed)
        assert str(error.value).startswith(sentence) and "\n" not in str(error.value)


@pytest.mark.parametrize("outputs", [("loss",), ("attentions",), "attention", ("attention", "attention")])
def test_unknown_outputs(outputs):
    inputs, _ = definitions.batch("local_alignment")
    with pytest.raises(ValueError, match="local_alignment: outputs must be different ones of similarity, attention, "
                                         "but are "):
        functional.local_alignment(**inputs, outputs=outputs)


def test_outputs_of_a_term_that_has_no_inputs():
    inputs, _ = definitions.batch("multi_scale")
    with pytest.raises(ValueError, match="multi_scale: attention is of regions and words, which are not given"):
        functional.multi_scale(inputs["image"], inputs["text"], 1.0, alpha=0, beta=0, outputs=("attention",))


def test_word_counts_out_of_range():
    inputs, _ = definitions.batch("local_alignment")
    for count in (0, 6, -1):
        with pytest.raises(ValueError, match="local_alignment: word_count"):
            functional.local_alignment(inputs["regions"], inputs["words"], torch.tensor([5, count, 1, 1]))


def test_targets_out_of_range():
    inputs, _ = definitions.batch("token_cross_entropy")
    for at_once in (False, True):
        hidden = inputs["hidden"].clone().requires_grad_(at_once)
        with pytest.raises(ValueError, match="token_cross_entropy: the target of row 0 is 9"):
            functional.token_cross_entropy(hidden, inputs["weight"], target=torch.full((6,), 9))
        with pytest.raises(ValueError, match="token_cross_entropy: target has 0 tokens"):
            functional.token_cross_entropy(hidden, inputs["weight"])


@pytest.mark.parametrize("name", definitions.NAMES)
def test_not_a_number_comes_out_again(name):
    inputs, keywords = definitions.batch(name)
    first = next(iter(inputs))
    inputs[first] = inputs[first].clone()
    inputs[first].view(-1)[0] = math.nan
    inputs[first].requires_grad_()
    loss = getattr(functional, name)(**inputs, **keywords)
    assert loss.isnan()
    loss.backward()
    assert inputs[first].grad.isnan().any()


def test_batches_beyond_all_memory():
    row = torch.ones(1, 7)
    huge = row.expand(2 ** 40, 7)
    with pytest.raises((RuntimeError, MemoryError)):
        functional.info_nce(huge, huge, 1.0)
    with pytest.raises((RuntimeError, MemoryError, ValueError)):
        functional.info_nce(row.expand(2 ** 61, 7), row.expand(2 ** 61, 7), 1.0)
    with pytest.raises((RuntimeError, MemoryError)):
        functional.pairwise_sigmoid(huge.requires_grad_(), huge, 1.0, -1.0)


@pytest.mark.parametrize("name", definitions.NAMES)
def test_meta_tensors_give_meta_tensors(name):
    inputs, keywords = definitions.batch(name)
    inputs = {key: one.to("meta").requires_grad_(one.is_floating_point() and key != "teacher")
              for key, one in inputs.items()}
    loss = getattr(functional, name)(**inputs, **keywords)
    assert loss.device.type == "meta" and loss.shape == ()
    loss.backward()
    assert all(one.grad.shape == one.shape for one in inputs.values() if one.requires_grad)


def test_meta_outputs():
    inputs, _ = definitions.batch("local_alignment")
    result = functional.local_alignment(**{key: one.to("meta").requires_grad_(one.is_floating_point())
                                           for key, one in inputs.items()}, outputs=("attention", "similarity"))
    assert result.attention.shape == (4, 5, 6) and result.similarity.shape == (4, 4)
    assert [one.requires_grad for one in result] == [True, False, False]


@pytest.mark.parametrize("name", ["info_nce", "pairwise_sigmoid"])
def test_meta_tensors_in_halves(name):
    inputs, keywords = definitions.batch(name)
    halves = {key: one.to("meta", torch.bfloat16) if one.is_floating_point() else one.to("meta")
              for key, one in inputs.items()}
    assert getattr(functional, name)(**halves, **keywords).dtype is torch.float32


def test_tensors_that_are_changed_before_backward():
    inputs, _ = definitions.batch("info_nce")
    text = inputs["text"].requires_grad_() * 1
    loss = functional.info_nce(inputs["image"], text, 1.0)
    text.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_second_backward_without_its_graph():
    inputs, _ = definitions.batch("info_nce")
    loss = functional.info_nce(inputs["image"].requires_grad_(), inputs["text"], 1.0)
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_interpreter_exit_while_a_loss_lives():
    program = "import torch; from vlp.torch import functional; " \
              "loss = functional.info_nce(torch.ones(2, 3, requires_grad=True), torch.ones(2, 3), 1.0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
