"""vlp.torch.ClipLoss and SigLipLoss against the definitions of open_clip's losses, and against open_clip itself."""
from __future__ import annotations

import inspect
import types

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import published  # noqa: E402
from vlp.torch import open_clip as ours  # noqa: E402
from vlp.torch import patch_open_clip  # noqa: E402

ENOUGH = {torch.float32: 2e-5, torch.float64: 1e-11}


def features(batch: int, width: int, dtype: torch.dtype, lengths: str, seed: int = 0) -> list[torch.Tensor]:
    """Leaves: images and texts [batch, width] of these lengths, a scale and a bias."""
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, batch, width, generator=generator, dtype=torch.float64)
    if lengths == "one":
        both = torch.nn.functional.normalize(both, dim=-1)
    elif lengths == "uneven":
        both = both * torch.logspace(-3, 1, batch, dtype=torch.float64)[:, None] / width**0.5
        both[0, 0] = 0
    scale = 14.0 if lengths == "one" else 1.5
    leaves = (*both, torch.tensor(scale, dtype=torch.float64), torch.tensor(-3.0, dtype=torch.float64))
    return [leaf.to(dtype).requires_grad_() for leaf in leaves]


def gradients(loss, leaves: list[torch.Tensor], upstream: float = 1.0) -> list[torch.Tensor]:
    made = torch.autograd.grad(upstream * loss, leaves, allow_unused=True)
    return [loss.detach(), *(torch.zeros_like(leaf) if one is None else one for one, leaf in zip(made, leaves))]


def check(ours: list[torch.Tensor], theirs: list[torch.Tensor], enough: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert one.isfinite().all()
        assert (one - other).abs().max() <= enough * max(1.0, other.abs().max().item())


SHAPES = [(1, 3), (2, 5), (7, 16), (33, 20)]


@pytest.mark.parametrize("lengths", ["one", "any", "uneven"])
@pytest.mark.parametrize("dtype", ENOUGH)
@pytest.mark.parametrize("batch, width", SHAPES)
def test_clip_is_its_definition(batch, width, dtype, lengths):
    image, text, scale, bias = leaves = features(batch, width, dtype, lengths)
    got = gradients(ours.ClipLoss()(image, text, scale), leaves, upstream=0.75)
    check(got, gradients(published.clip_loss(image, text, scale), leaves, upstream=0.75), ENOUGH[dtype])
    assert got[0].dtype is dtype


@pytest.mark.parametrize("lengths", ["one", "any", "uneven"])
@pytest.mark.parametrize("dtype", ENOUGH)
@pytest.mark.parametrize("batch, width", SHAPES)
def test_siglip_is_its_definition(batch, width, dtype, lengths):
    image, text, scale, bias = leaves = features(batch, width, dtype, lengths)
    got = gradients(ours.SigLipLoss()(image, text, scale, bias), leaves, upstream=0.75)
    check(got, gradients(published.siglip_loss(image, text, scale, bias), leaves, upstream=0.75), ENOUGH[dtype])
    assert got[0].dtype is dtype


@pytest.mark.parametrize("lengths", ["one", "uneven"])
def test_gradients_are_those_of_differences(lengths):
    image, text, scale, bias = features(4, 3, torch.float64, lengths)
    assert torch.autograd.gradcheck(ours.ClipLoss(), (image, text, scale))
    assert torch.autograd.gradcheck(ours.SigLipLoss(), (image, text, scale, bias))


def test_all_features_may_be_zero():
    image, text = torch.zeros(2, 5, 4, dtype=torch.float64)
    leaves = [image.requires_grad_(), text.requires_grad_(), torch.tensor(3.0, dtype=torch.float64, requires_grad=True)]
    check(gradients(ours.ClipLoss()(*leaves), leaves), gradients(published.clip_loss(*leaves), leaves), 1e-12)


def test_bias_moves_no_clip_loss():
    image, text, scale, bias = leaves = features(5, 4, torch.float64, "one")
    got = gradients(ours.ClipLoss()(image, text, scale, bias), leaves)
    check(got, gradients(published.clip_loss(image, text, scale), leaves), 1e-11)
    assert got[-1] == 0


def test_siglip_without_bias():
    image, text, scale, bias = leaves = features(5, 4, torch.float64, "one")
    want = gradients(published.siglip_loss(image, text, scale, 0 * bias), leaves)
    check(gradients(ours.SigLipLoss()(image, text, scale, None), leaves), want, 1e-11)


@pytest.mark.parametrize("loss", [ours.ClipLoss(), ours.SigLipLoss()])
def test_numbers_of_one_dimension_and_the_dictionary(loss):
    image, text, scale, bias = features(5, 4, torch.float32, "one")
    plain = loss(image, text, scale, bias)
    assert plain.shape == ()
    one_dimension = [number.detach().reshape(1).requires_grad_() for number in (scale, bias)]
    as_dictionary = loss(image, text, *one_dimension, output_dict=True)
    assert list(as_dictionary) == ["contrastive_loss"]
    assert as_dictionary["contrastive_loss"].equal(plain)
    as_dictionary["contrastive_loss"].backward()
    assert all(number.grad.shape == (1,) for number in one_dimension)


@pytest.mark.parametrize("loss", [ours.ClipLoss(), ours.SigLipLoss()])
def test_numbers_of_other_types(loss):
    image, text, scale, bias = features(5, 4, torch.float64, "one")
    want = loss(image, text, scale, bias)
    narrow = [number.detach().float().requires_grad_() for number in (scale, bias)]
    got = loss(image, text, *narrow)
    torch.testing.assert_close(got, want)
    got.backward()
    assert all(number.grad.dtype is torch.float32 for number in narrow)
    exact = [torch.tensor(number, dtype=torch.float64) for number in (14.1, -3.1)]
    torch.testing.assert_close(loss(image, text, 14.1, -3.1), loss(image, text, *exact), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", [ours.ClipLoss(), ours.SigLipLoss()])
def test_autocast_changes_nothing(loss):
    leaves = features(5, 4, torch.float32, "one")
    with torch.autocast("cpu", torch.bfloat16):
        got = loss(*leaves)
    assert got.equal(loss(*leaves))


def test_scale_goes_back_to_its_logarithm():
    image, text, _, _ = features(6, 4, torch.float32, "one")
    log_scale = torch.tensor(2.0, requires_grad=True)
    got = gradients(ours.ClipLoss()(image, text, log_scale.exp()), [log_scale])
    check(got, gradients(published.clip_loss(image, text, log_scale.exp()), [log_scale]), 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("lengths", ["one", "uneven"])
def test_lifted_halves_have_one_length(dtype, lengths):
    """On a GPU halves are not widened: two columns must hold the rest of the length well enough."""
    image, text, _, _ = features(9, 12, dtype, lengths)
    scale = torch.tensor(3.0, dtype=torch.float64)
    *lifted, log_scale = ours._lift(image, text, scale)
    norms = [rows.double().norm(dim=1) for rows in lifted]
    for rows, length in zip(lifted, norms):
        assert rows.dtype is dtype
        assert (length / length[0] - 1).abs().max() < 1e-4
    assert abs(3 * norms[0][0] * norms[1][0] / log_scale.exp() - 1) < 2e-4
    torch.testing.assert_close(lifted[0].double() @ lifted[1].double().T, image.double() @ text.double().T)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves(dtype):
    leaves = features(9, 12, dtype, "one")
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    for loss, definition, count in ((ours.ClipLoss(), published.clip_loss, 3),
                                    (ours.SigLipLoss(), published.siglip_loss, 4)):
        got = gradients(loss(*leaves[:count]), leaves[:count])
        assert got[0].dtype is torch.float32
        assert got[1].dtype is dtype
        check([one.double() for one in got], gradients(definition(*wide[:count]), wide[:count]), 2e-2)


def test_views_and_leaves_without_gradient():
    image, text, scale, _ = features(6, 8, torch.float64, "any")
    strided = image.detach().repeat_interleave(2, dim=1)[:, ::2]
    value = ours.ClipLoss()(strided, text.detach(), scale.detach())
    assert not value.requires_grad
    torch.testing.assert_close(value, published.clip_loss(image, text, scale).detach())


@pytest.mark.parametrize("loss", [ours.ClipLoss(), ours.SigLipLoss()])
def test_second_derivatives_are_refused(loss):
    leaves = features(4, 3, torch.float64, "any")
    made = torch.autograd.grad(loss(*leaves), leaves, create_graph=True)
    for one, leaf in zip(made, leaves):
        if one.requires_grad:
            with pytest.raises(NotImplementedError, match="cannot be differentiated again"):
                torch.autograd.grad(one.sum(), leaf, retain_graph=True)
    assert made[0].requires_grad and made[1].requires_grad and made[2].requires_grad


def test_nan_stays_nan():
    image, text, scale, bias = (leaf.detach() for leaf in features(4, 3, torch.float32, "one"))
    image[1, 1] = float("nan")
    assert ours.ClipLoss()(image, text, scale).isnan()
    assert ours.SigLipLoss()(image, text, scale, bias).isnan()
    assert ours.ClipLoss()(text, text, -scale).isnan()


@pytest.mark.parametrize("loss", [ours.ClipLoss(), ours.SigLipLoss()])
def test_refusals(loss):
    image, text, scale, bias = features(4, 3, torch.float32, "one")
    with pytest.raises(ValueError, match=r"image_features is \[4, 3\] and text_features is \[3, 3\], but"):
        loss(image, text[:3], scale, bias)
    with pytest.raises(ValueError, match="at least one"):
        loss(image[:0], text[:0], scale, bias)
    with pytest.raises(ValueError, match="image_features is"):
        loss(image[0], text[0], scale, bias)
    with pytest.raises(ValueError, match=r"logit_scale must be one number, but is \[3\]"):
        loss(image, text, scale.expand(3), bias)
    with pytest.raises(ValueError, match=r"logit_bias must be one number, but is \[4\]"):
        loss(image, text, scale, bias.expand(4))


def test_horovod_is_refused():
    with pytest.raises(ValueError, match="not through Horovod"):
        ours.ClipLoss(use_horovod=True)


def test_names_of_exchanges():
    for name in ("bidir", "shift", "reduce", "gather"):
        assert ours.SigLipLoss(dist_impl=name).dist_impl == name
    assert ours.SigLipLoss().dist_impl == "bidir"
    with pytest.raises(ValueError, match="dist_impl must be bidir, shift, reduce or gather, but is 'ring'"):
        ours.SigLipLoss(dist_impl="ring")


def test_compiles():
    image, text, scale, bias = leaves = features(6, 8, torch.float32, "one")
    compiled = torch.compile(lambda *given: ours.ClipLoss()(*given[:3]) + ours.SigLipLoss()(*given), fullgraph=True,
                             backend="aot_eager")
    want = published.clip_loss(image, text, scale) + published.siglip_loss(image, text, scale, bias)
    check(gradients(compiled(*leaves), leaves), gradients(want, leaves), 2e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_lifts_for_plain_tensors_and_others_are_the_same(dtype):
    leaves = features(9, 12, dtype, "uneven")[:3]
    both = []
    for lift in (ours._lift, ours._both_lifted):
        results = lift(*leaves)
        weights = [torch.linspace(-1, 1, one.numel(), dtype=torch.float64).reshape(one.shape) for one in results]
        total = sum((one.double() * weight).sum() for one, weight in zip(results, weights))
        both.append([one.detach().double() for one in (*results, *torch.autograd.grad(total, leaves))])
    check(both[0], both[1], 1e-11 if dtype is torch.float64 else 2e-2)


def test_torch_func():
    image, text, scale, bias = (leaf.detach() for leaf in features(4, 3, torch.float64, "any"))
    for loss, definition, rest in ((ours.ClipLoss(), published.clip_loss, (text, scale)),
                                   (ours.SigLipLoss(), published.siglip_loss, (text, scale, bias))):
        got = torch.func.grad(loss)(image, *rest)
        torch.testing.assert_close(got, torch.func.grad(definition)(image, *rest), rtol=1e-10, atol=1e-10)


def test_patch_of_a_module():
    copy = types.ModuleType("copy_of_open_clip")
    copy.ClipLoss = original = type("ClipLoss", (), {})
    with patch_open_clip(copy) as patch:
        assert copy.ClipLoss is ours.ClipLoss
        with patch_open_clip(copy):
            assert copy.ClipLoss is ours.ClipLoss
        assert copy.ClipLoss is ours.ClipLoss
    assert copy.ClipLoss is original
    assert not hasattr(copy, "SigLipLoss")
    patch.restore()
    assert copy.ClipLoss is original
    first, second = patch_open_clip(copy), patch_open_clip(copy)
    first.restore()
    assert copy.ClipLoss is original
    second.restore()
    assert copy.ClipLoss is original
    with pytest.raises(ValueError, match="copy_of_nothing has none of ClipLoss, SigLipLoss"):
        patch_open_clip(types.ModuleType("copy_of_nothing"))


def arguments(function) -> list[tuple[str, object]]:
    return [(one.name, one.default) for one in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", ["ClipLoss", "SigLipLoss"])
def test_arguments_are_those_of_open_clip(name):
    theirs = getattr(pytest.importorskip("open_clip.loss", reason="open_clip_torch is not installed"), name)
    for method in ("__init__", "forward"):
        wanted = arguments(getattr(theirs, method))
        assert arguments(getattr(getattr(ours, name), method))[:len(wanted)] == wanted


@pytest.mark.parametrize("dtype", ENOUGH)
@pytest.mark.parametrize("batch, width", SHAPES)
def test_values_are_those_of_open_clip(batch, width, dtype):
    theirs = pytest.importorskip("open_clip.loss", reason="open_clip_torch is not installed")
    image, text, scale, bias = leaves = features(batch, width, dtype, "any")
    for name, given in (("ClipLoss", leaves[:3]), ("ClipLoss", leaves), ("SigLipLoss", leaves)):
        check(gradients(getattr(ours, name)()(*given), given), gradients(getattr(theirs, name)()(*given), given),
              ENOUGH[dtype])


def test_patch_of_open_clip():
    theirs = pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    settings = types.SimpleNamespace(distill=False, model="ViT-B-32", siglip=False, local_loss=False, rank=0,
                                     gather_with_grad=False, world_size=1, loss_dist_impl=None, torchcompile=False,
                                     horovod=False)
    with patch_open_clip():
        assert type(theirs.create_loss(settings)) is ours.ClipLoss
        assert theirs.ClipLoss is theirs.loss.ClipLoss is ours.ClipLoss
        settings.siglip = True
        assert type(theirs.create_loss(settings)) is ours.SigLipLoss
    assert type(theirs.create_loss(settings)) is theirs.loss.SigLipLoss is not ours.SigLipLoss
