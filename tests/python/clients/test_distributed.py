"""The drop-ins for open_clip over two processes (gloo): values and gradients are those of one process."""
from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
if not torch.distributed.is_available():
    pytest.skip("this PyTorch has no torch.distributed", allow_module_level=True)

import published  # noqa: E402
import ranks  # noqa: E402
from ranks import EXCHANGES, PAIRS, WORLD  # noqa: E402

ENOUGH = {torch.float32: 2e-5, torch.float64: 1e-11}
CLIP = [f"clip {local_loss} {gather_with_grad}" for local_loss in (False, True) for gather_with_grad in (False, True)]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[dict]:
    """What each rank computed."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(ranks.run, (str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def check(ours, theirs, enough: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape and one.isfinite().all()
        assert (one - other).abs().max() <= enough * max(1.0, other.abs().max().item())


def own_share(one, everything, scale, rank):
    """The mean cross-entropy of the counterparts of the rows `one` of a rank among everything."""
    own = torch.arange(PAIRS) + rank * PAIRS
    return torch.nn.functional.cross_entropy(published.clip_scores(one, everything, scale), own)


def by_definition(name: str, rank: int, dtype) -> list:
    """The loss of a rank, and the gradients for its images, its texts, the scale and the bias, in one process."""
    image, text, scale, bias = leaves = ranks.leaves(dtype)
    if name.startswith("siglip"):
        shares = [siglip_share(one, image, text, scale, bias) for one in range(WORLD)]
        value, sent = shares[rank], sum(shares)
    else:
        _, local_loss, gather_with_grad = name.split()
        if local_loss == "False":
            value = published.clip_loss(image, text, scale)
            sent = WORLD * value if gather_with_grad == "True" else value
        else:
            others = [image, text] if gather_with_grad == "True" else [image.detach(), text.detach()]
            shares = [(own_share(ranks.part(image, one), others[1], scale, one)
                       + own_share(ranks.part(text, one), others[0], scale, one)) / 2 for one in range(WORLD)]
            value, sent = shares[rank], sum(shares)
    made = [ranks.part(one, rank) for one in torch.autograd.grad(sent, leaves[:2], retain_graph=True)]
    numbers = torch.autograd.grad(value, leaves[2:], allow_unused=True)
    return [value.detach(), *made, *(torch.zeros_like(scale) if one is None else one for one in numbers)]


def siglip_share(rank, image, text, scale, bias):
    """The share of a rank: its images with the texts of all ranks."""
    scores = published.clip_scores(ranks.part(image, rank), text, scale) + bias
    matches = -torch.ones_like(scores)
    matches[torch.arange(PAIRS), torch.arange(PAIRS) + rank * PAIRS] = 1
    return torch.nn.functional.softplus(-matches * scores).sum() / PAIRS


@pytest.mark.parametrize("dtype", ENOUGH)
@pytest.mark.parametrize("name", [*CLIP, *(f"siglip {exchange}" for exchange in EXCHANGES)])
def test_ranks_have_the_loss_and_gradients_of_one_process(results, name, dtype):
    for rank in range(WORLD):
        check(results[rank]["ours", name, dtype], by_definition(name, rank, dtype), ENOUGH[dtype])


@pytest.mark.parametrize("dtype", ENOUGH)
@pytest.mark.parametrize("name", [*CLIP, *(f"siglip {exchange}" for exchange in EXCHANGES)])
def test_ranks_have_the_loss_and_gradients_of_open_clip(results, name, dtype):
    pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    for rank in range(WORLD):
        check(results[rank]["ours", name, dtype], results[rank]["theirs", name, dtype], ENOUGH[dtype])


@pytest.mark.parametrize("name", [*CLIP[1::2], *(f"siglip {exchange}" for exchange in EXCHANGES)])
def test_training_on_two_ranks_has_the_gradients_of_one_process(results, name):
    """DistributedDataParallel averages over the ranks what gathering with gradients sends to each."""
    model = ranks.Encoders()
    image, text, scale, bias = model(*(one.detach() for one in ranks.leaves(torch.float64)[:2]))
    if name.startswith("siglip"):
        value = published.siglip_loss(image, text, scale, bias)
    else:
        value = published.clip_loss(image, text, scale) + 0 * bias
    value.backward()
    want = [weight.grad for weight in model.parameters()]
    for rank in range(WORLD):
        check(results[rank]["model", name][1:], want, 1e-11)
    mean = sum(one["model", name][0] for one in results) / WORLD
    check([mean], [value.detach()], 1e-11)
