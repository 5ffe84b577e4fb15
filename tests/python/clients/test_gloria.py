"""vlp.torch.gloria against the definition of GLoRIA's losses: values, gradients and attention maps."""
from __future__ import annotations

import math
import sys
import types

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import published  # noqa: E402
from vlp.torch import gloria, patch_gloria  # noqa: E402

ENOUGH = {torch.float32: 5e-5, torch.float64: 1e-11}
# pairs, features, height, width, words, lengths
SHAPES = [(1, 4, 2, 3, 5, [5]), (2, 3, 1, 1, 4, [1, 4]), (5, 8, 3, 4, 9, [2, 7, 1, 8, 3]),
          (7, 16, 5, 5, 6, [6, 1, 2, 3, 4, 5, 6])]
WEIGHTS = [(1.0, 1.0), (0.3, 0.3), (1.0, 0.5), (0.25, 2.0), (-1.0, -3.0), (1.0, -1.0), (0.0, 1.0), (2.0, 0.0),
           (0.0, 0.0)]


def local_inputs(shape, dtype) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    pairs, width, rows, columns, words, lengths = shape
    generator = torch.Generator().manual_seed(pairs)
    both = [torch.randn(pairs, width, *rest, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
            for rest in ((rows, columns), (words,))]
    return *both, lengths


def gradients(losses, weights, leaves) -> list[torch.Tensor]:
    """The two losses, and the gradients of their weighted sum."""
    total = weights[0] * losses[0] + weights[1] * losses[1]
    return [losses[0].detach(), losses[1].detach(), *torch.autograd.grad(total, leaves, retain_graph=True)]


def check(ours: list[torch.Tensor], theirs: list[torch.Tensor], enough: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape and one.dtype is other.dtype
        assert one.isfinite().all()
        assert (one - other).abs().max() <= enough * max(1.0, other.abs().max().item())


@pytest.mark.parametrize("dtype", ENOUGH)
@pytest.mark.parametrize("shape", SHAPES)
def test_local_loss_is_its_definition(shape, dtype):
    features, words, lengths = local_inputs(shape, dtype)
    *got, maps = gloria.local_loss(features, words, lengths)
    *want, want_maps = published.gloria_local(features, words, lengths)
    for weights in WEIGHTS:
        check(gradients(got, weights, (features, words)), gradients(want, weights, (features, words)), ENOUGH[dtype])
    check([one.detach() for one in maps], [one.detach() for one in want_maps], ENOUGH[dtype])


def test_temperatures():
    features, words, lengths = local_inputs(SHAPES[2], torch.float64)
    got = gloria.local_loss(features, words, lengths, 2.0, temp2=3.0, temp3=4.0)
    want = published.gloria_local(features, words, lengths, 2.0, 3.0, 4.0)
    check(gradients(got[:2], (1.0, 0.5), (features, words)), gradients(want[:2], (1.0, 0.5), (features, words)), 1e-11)
    check([one.detach() for one in got[2]], [one.detach() for one in want[2]], 1e-11)


def test_one_direction_alone():
    features, words, lengths = local_inputs(SHAPES[2], torch.float64)
    for i in range(2):
        got = torch.autograd.grad(gloria.local_loss(features, words, lengths)[i], (features, words))
        want = torch.autograd.grad(published.gloria_local(features, words, lengths)[i], (features, words))
        check(list(got), list(want), 1e-11)


def test_gradients_of_some_inputs():
    features, words, lengths = local_inputs(SHAPES[2], torch.float64)
    want = torch.autograd.grad(sum(published.gloria_local(features, words, lengths)[:2]), (features, words))
    for i in range(2):
        given = [features.detach(), words.detach()]
        given[i].requires_grad_()
        got = torch.autograd.grad(sum(gloria.local_loss(*given, lengths)[:2]), given[i])
        check(list(got), [want[i]], 1e-11)
    with torch.no_grad():
        loss0, loss1, maps = gloria.local_loss(features, words, lengths)
    assert not any(one.requires_grad for one in (loss0, loss1, *maps))


def test_gradients_are_those_of_differences():
    features, words, lengths = local_inputs((3, 4, 2, 2, 3, [3, 1, 2]), torch.float64)
    assert torch.autograd.gradcheck(lambda *given: gloria.local_loss(*given, lengths)[:2], (features, words))
    codes = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(gloria.global_loss, codes)


def test_zero_words_and_regions():
    """Cosines of nothing divide by 1e-8."""
    features, words, lengths = local_inputs(SHAPES[2], torch.float64)
    features, words = features.detach(), words.detach()
    words[1, :, 2] = 0
    features[3] = 0
    leaves = features.requires_grad_(), words.requires_grad_()
    got, want = gloria.local_loss(*leaves, lengths), published.gloria_local(*leaves, lengths)
    check([one.detach() for one in got[:2]], [one.detach() for one in want[:2]], 1e-11)
    check([one.detach() for one in got[2]], [one.detach() for one in want[2]], 1e-11)


def test_padding_is_not_read():
    features, words, lengths = local_inputs(SHAPES[2], torch.float32)
    want = gloria.local_loss(features, words, lengths)
    spoilt = words.detach().clone()
    for report, length in enumerate(lengths):
        spoilt[report, :, length:] = float("nan")
    spoilt.requires_grad_()
    loss0, loss1, maps = gloria.local_loss(features, spoilt, torch.tensor(lengths))
    assert loss0.equal(want[0]) and loss1.equal(want[1])
    assert all(one.equal(other) for one, other in zip(maps, want[2], strict=True))
    (gradient,) = torch.autograd.grad(loss0 + loss1, spoilt)
    assert all(gradient[report, :, length:].eq(0).all() for report, length in enumerate(lengths))


def test_maps_have_the_published_layout():
    features, words, lengths = local_inputs(SHAPES[2], torch.float32)
    maps = gloria.local_loss(features, words, lengths)[2]
    assert [list(one.shape) for one in maps] == [[1, length, 3, 4] for length in lengths]
    assert all(torch.allclose(one.sum((2, 3)), torch.ones(1)) for one in maps)


def test_gradients_of_maps_are_refused():
    features, words, lengths = local_inputs(SHAPES[2], torch.float32)
    loss0, loss1, maps = gloria.local_loss(features, words, lengths)
    assert maps[0].requires_grad
    with pytest.raises(NotImplementedError, match="attention maps have no gradient"):
        (loss0 + loss1 + maps[0].square().sum()).backward()
    with pytest.raises(NotImplementedError, match="cannot be differentiated again"):
        torch.autograd.grad(torch.autograd.grad(loss0, features, create_graph=True)[0].sum(), features)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves(dtype):
    features, words, lengths = local_inputs(SHAPES[2], dtype)
    wide = [one.detach().double().requires_grad_() for one in (features, words)]
    *got, maps = gloria.local_loss(features, words, lengths)
    *want, want_maps = published.gloria_local(*wide, lengths)
    assert got[0].dtype is torch.float32 and maps[0].requires_grad  # whose gradient is refused
    made = gradients(got, (1.0, 1.0), (features, words))
    assert made[2].dtype is dtype
    check([one.double() for one in made], gradients(want, (1.0, 1.0), wide), 2e-2)
    check([one.detach().double() for one in maps], [one.detach() for one in want_maps], 2e-2)


def test_two_forwards_before_their_backwards():
    one, other = local_inputs(SHAPES[2], torch.float64), local_inputs(SHAPES[3], torch.float64)
    losses = [gloria.local_loss(*given) for given in (one, other)]
    for given, loss in zip((one, other), losses):
        want = published.gloria_local(*given)
        check(gradients(loss[:2], (1.0, 1.0), given[:2]), gradients(want[:2], (1.0, 1.0), given[:2]), 1e-11)


def test_upstreams_that_the_host_must_not_wait_for(monkeypatch):
    """The way of CUDA devices, taken on the CPU: one pass for a sum of both directions, two for other weights."""
    features, words, lengths = local_inputs(SHAPES[2], torch.float64)
    want = published.gloria_local(features, words, lengths)[:2]
    steps = []
    monkeypatch.setattr(gloria, "_WAITED_FOR", ())
    step = gloria._step
    monkeypatch.setattr(gloria, "_step", lambda *given, **named: steps.append(given[3]) or step(*given, **named))
    for weights in WEIGHTS:
        got = gloria.local_loss(features, words, lengths)[:2]
        check(gradients(got, weights, (features, words)), gradients(want, weights, (features, words)), 1e-11)
    loss0, loss1, _ = gloria.local_loss(features, words, lengths)
    for loss, other, passes in ((0.3 * (loss0 + loss1), 0.3 * (want[0] + want[1]), 1), (loss0, want[0], 1),
                                (loss1 * 2, want[1] * 2, 1), (loss0 + 2 * loss1, want[0] + 2 * want[1], 2)):
        steps.clear()
        got = torch.autograd.grad(loss, (features, words), retain_graph=True)
        check(list(got), list(torch.autograd.grad(other, (features, words), retain_graph=True)), 1e-11)
        assert steps.count("differentiate") == passes


def test_halves_take_upstreams_beyond_their_range():
    def run(weights, upstream, into):
        into[0].fill_(2.0 ** -14 * upstream * sum(weights))

    first, second = torch.tensor(2.0 ** 25), torch.tensor(2.0 ** 24)  # both infinite in float16
    for upstreams, want in (((first, first), 2.0 ** 12), ((None, second), 2.0 ** 10), ((first, second), 1.5 * 2.0 ** 11)):
        got, = gloria._on_device(run, *upstreams, [torch.empty(2, dtype=torch.float16)])
        assert got.dtype is torch.float16 and got.tolist() == [want, want]


def test_passes_of_backward(monkeypatch):
    """On the CPU, one pass for all weights of one sign."""
    features, words, lengths = local_inputs(SHAPES[2], torch.float64)
    loss0, loss1, _ = gloria.local_loss(features, words, lengths)
    steps = []
    step = gloria._step
    monkeypatch.setattr(gloria, "_step", lambda *given, **named: steps.append(given[3]) or step(*given, **named))
    for weights in WEIGHTS:
        steps.clear()
        torch.autograd.grad(weights[0] * loss0 + weights[1] * loss1, (features, words), retain_graph=True)
        assert len(steps) == (2 if weights == (1.0, -1.0) else 1)
    for upstream in (math.inf, math.nan):
        made = torch.autograd.grad(upstream * loss0 + loss1, (features, words), retain_graph=True)
        assert not any(one.isfinite().all() for one in made)


def test_expanded_and_strided_inputs():
    features, words, lengths = local_inputs(SHAPES[2], torch.float64)
    given = [features.detach()[:1].expand_as(features), words.detach().transpose(1, 2).contiguous().transpose(1, 2)]
    got = gloria.local_loss(*given, lengths)
    want = published.gloria_local(*given, lengths)
    check(list(got[:2]), list(want[:2]), 1e-11)
    image, text = (one.detach() for one in codes(5, torch.float64))
    image = image[:1].expand(5, -1)
    check(list(gloria.global_loss(image, text)), list(published.gloria_global(image, text)), 1e-11)


def codes(pairs: int, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(pairs)
    return [(torch.randn(pairs, 6, generator=generator, dtype=torch.float64) * 3).to(dtype).requires_grad_()
            for _ in range(2)]


@pytest.mark.parametrize("dtype", ENOUGH)
@pytest.mark.parametrize("pairs", [1, 2, 7, 30])
def test_global_loss_is_its_definition(pairs, dtype):
    leaves = codes(pairs, dtype)
    for temperature in (10.0, 2.5):
        got = gloria.global_loss(*leaves, temp3=temperature)
        want = published.gloria_global(*leaves, temp3=temperature)
        for weights in WEIGHTS:
            check(gradients(got, weights, leaves), gradients(want, weights, leaves), ENOUGH[dtype])


@pytest.mark.parametrize("eps", [1e-8, 4.0, 1e3, 0.0])
def test_eps_of_the_global_loss(eps):
    leaves = codes(5, torch.float64)
    check(gradients(gloria.global_loss(*leaves, eps), (1.0, 0.5), leaves),
          gradients(published.gloria_global(*leaves, eps), (1.0, 0.5), leaves), 1e-11)
    leaves = [leaves[0].detach(), leaves[1].detach()]
    leaves[1][2] = 0
    check(list(gloria.global_loss(*leaves, eps or 1e-8)), list(published.gloria_global(*leaves, eps or 1e-8)), 1e-11)


def test_codes_too_short_to_normalise():
    """vlp divides by norms of at least 1e-12, the published loss by products of norms of at least eps."""
    image, text = (one.detach() for one in codes(5, torch.float64))
    leaves = [(image * 1e-14).requires_grad_(), (text * 1e8).requires_grad_()]
    check([one.detach() for one in gloria.global_loss(*leaves)],
          [one.detach() for one in published.gloria_global(*leaves)], 1e-11)


def test_a_learned_scale_of_the_global_loss():
    leaves = [*codes(5, torch.float64), torch.tensor(7.0, dtype=torch.float64, requires_grad=True)]
    check(gradients(gloria.global_loss(*leaves[:2], temp3=leaves[2]), (1.0, 0.5), leaves),
          gradients(published.gloria_global(*leaves[:2], temp3=leaves[2]), (1.0, 0.5), leaves), 1e-11)


def test_compiles():
    features, words, lengths = local_inputs(SHAPES[2], torch.float64)
    leaves = features, words, *codes(5, torch.float64)

    def losses(features, words, image, text):
        *local, maps = gloria.local_loss(features, words, lengths)
        both = gloria.global_loss(image, text)
        return local[0] + both[0], local[1] + both[1], maps

    *got, maps = torch.compile(losses, fullgraph=True, backend="aot_eager")(*leaves)
    *want, want_maps = losses(*leaves)
    check(gradients(got, (1.0, 0.5), leaves), gradients(want, (1.0, 0.5), leaves), 1e-11)
    check([one.detach() for one in maps], [one.detach() for one in want_maps], 1e-11)
    compiled = torch.compile(lambda *both: gloria.global_loss(*both), fullgraph=True, backend="aot_eager")
    assert all(one.isnan() for one in compiled(0 * leaves[2], leaves[3]))


def test_refusals():
    features, words, lengths = local_inputs(SHAPES[2], torch.float32)
    with pytest.raises(ValueError, match='agg must be "sum", since vlp has no mean over words, but is \'mean\''):
        gloria.local_loss(features, words, lengths, agg="mean")
    with pytest.raises(ValueError, match=r"cap_lens must be 5 numbers from 1 to 9, but is \[2, 7, 0, 8, 3\]"):
        gloria.local_loss(features, words, [2, 7, 0, 8, 3])
    with pytest.raises(ValueError, match=r"cap_lens must be 5 numbers from 1 to 9, but is \[2, 7, 10, 8, 3\]"):
        gloria.local_loss(features, words, [2, 7, 10, 8, 3])
    with pytest.raises(ValueError, match=r"cap_lens must be 5 numbers"):
        gloria.local_loss(features, words, [2, 7, 1, 8])
    with pytest.raises(ValueError, match=r"img_features is \[5, 8, 12\] and words_emb is \[5, 8, 9\], but"):
        gloria.local_loss(features.flatten(2), words, lengths)
    with pytest.raises(ValueError, match="at least one"):
        gloria.local_loss(features[:0], words[:0], [])
    with pytest.raises(ValueError, match=r"words_emb is \[4, 8, 9\], but"):
        gloria.local_loss(features, words[:4], lengths[:4])
    with pytest.raises(ValueError, match="attention_temperature"):
        gloria.local_loss(features, words, lengths, temp1=0.0)
    with pytest.raises(TypeError, match="words"):
        gloria.local_loss(features, words.double(), lengths)
    with pytest.raises(ValueError, match="temp3 must be above 0, but is -1"):
        gloria.global_loss(*codes(3, torch.float32), temp3=-1.0)
    with pytest.raises(ValueError, match=r"cnn_code is \[3, 6\] and rnn_code is \[2, 6\], but"):
        gloria.global_loss(codes(3, torch.float32)[0], codes(2, torch.float32)[1])


def test_nan_stays_nan():
    features, words, lengths = local_inputs(SHAPES[2], torch.float32)
    with torch.no_grad():
        features[1, 1, 1, 1] = math.nan
    assert all(one.isnan() for one in gloria.local_loss(features, words, lengths)[:2])
    image, text = codes(4, torch.float32)
    with torch.no_grad():
        image[2, 2] = math.nan
    assert all(one.isnan() for one in gloria.global_loss(image, text))


def test_patch(monkeypatch):
    """A stand-in for GLoRIA's package, which is not on PyPI: its modules, with losses by their definition."""
    package, losses, module = (types.ModuleType(name) for name in ("gloria", "gloria.loss", "gloria.loss.gloria_loss"))
    package.loss, losses.gloria_loss = losses, module
    module.local_loss, module.global_loss = published.gloria_local, published.gloria_global
    for one in (package, losses, module):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    local_loss, global_loss = gloria.local_loss, gloria.global_loss
    with patch_gloria():
        assert module.local_loss is local_loss and module.global_loss is global_loss
    assert module.local_loss is published.gloria_local and module.global_loss is published.gloria_global
    copy = types.ModuleType("copy_of_gloria_loss")
    copy.local_loss = published.gloria_local
    importer, other = types.ModuleType("importer"), types.ModuleType("other")
    importer.local_loss, other.local_loss = copy.local_loss, published.gloria_global
    for one in (importer, other):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    patch = patch_gloria(copy)
    assert copy.local_loss is importer.local_loss is local_loss and not hasattr(copy, "global_loss")
    assert other.local_loss is published.gloria_global
    patch.restore()
    assert copy.local_loss is importer.local_loss is published.gloria_local
    assert gloria.local_loss is local_loss and gloria.global_loss is global_loss


def test_patch_without_gloria():
    with pytest.raises(ImportError, match="gloria"):
        patch_gloria()
