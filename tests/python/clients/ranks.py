"""What each of two processes computes for test_distributed.py."""
from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Iterator

import torch
from torch import Tensor, nn

from vlp.torch import ClipLoss, SigLipLoss

WORLD = 2
PAIRS = 3  # of each rank
WIDTH = 5
EXCHANGES = ("bidir", "shift", "reduce", "gather")


def leaves(dtype: torch.dtype) -> list[Tensor]:
    """Images and texts of all ranks [WORLD * PAIRS, WIDTH], a scale and a bias."""
    generator = torch.Generator().manual_seed(3)
    both = torch.randn(2, WORLD * PAIRS, WIDTH, generator=generator, dtype=torch.float64)
    return [leaf.to(dtype).requires_grad_() for leaf in (*both, torch.tensor(2.0), torch.tensor(-1.5))]


def part(everything: Tensor, rank: int) -> Tensor:
    return everything[rank * PAIRS:(rank + 1) * PAIRS]


def losses(rank: int, clip: Any, siglip: Any) -> Iterator[tuple[str, nn.Module]]:
    """Every loss of several ranks, by name."""
    for local_loss in (False, True):
        for gather_with_grad in (False, True):
            yield f"clip {local_loss} {gather_with_grad}", clip(local_loss=local_loss, rank=rank, world_size=WORLD,
                                                                gather_with_grad=gather_with_grad)
    for exchange in EXCHANGES:
        yield f"siglip {exchange}", siglip(rank=rank, world_size=WORLD, dist_impl=exchange)


class Encoders(nn.Module):
    """Features of images and texts, and the scale and bias of their scores."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.image, self.text = (nn.Linear(WIDTH, 4, dtype=torch.float64) for _ in range(2))
        self.log_scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(-1.5, dtype=torch.float64))

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        normalised = (nn.functional.normalize(one, dim=1) for one in (self.image(image), self.text(text)))
        return *normalised, self.log_scale.exp(), self.bias


def run(rank: int, folder: str) -> None:
    """Writes results of one rank to a file in `folder`."""
    folder = Path(folder)
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=WORLD)
    results = {}
    owners = [("ours", ClipLoss, SigLipLoss)]
    if importlib.util.find_spec("open_clip") is not None:
        from open_clip.loss import ClipLoss as TheirClipLoss, SigLipLoss as TheirSigLipLoss

        owners.append(("theirs", TheirClipLoss, TheirSigLipLoss))
    for dtype in (torch.float32, torch.float64):
        image, text, scale, bias = leaves(dtype)
        given = [part(image, rank).detach().requires_grad_(), part(text, rank).detach().requires_grad_(), scale, bias]
        for owner, *classes in owners:
            for name, loss in losses(rank, *classes):
                value = loss(*given)
                made = torch.autograd.grad(value, given)
                results[owner, name, dtype] = [value.detach(), *made]

    image, text, _, _ = leaves(torch.float64)
    for name, loss in losses(rank, ClipLoss, SigLipLoss):
        model = nn.parallel.DistributedDataParallel(Encoders())
        value = loss(*model(part(image, rank).detach(), part(text, rank).detach()))
        value.backward()
        results["model", name] = [value.detach(), *(weight.grad for weight in model.module.parameters())]
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()
