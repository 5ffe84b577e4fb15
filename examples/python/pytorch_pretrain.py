"""Pretrains a small dual encoder in PyTorch with vlp.torch.MultiScale on made-up pairs, until it reads word order.

A picture shows a finding in each quadrant, and its report names them in that order. Perturbed reports have the same
words in other orders: with beta 0 the model never meets one, and tells reports apart by which words they have.
"""
import torch
from torch import nn

import vlp.torch

FINDINGS, SIDE, WIDTH, PAIRS, STEPS = 40, 8, 48, 64, 200
ORDERS = torch.tensor([[0, 1, 2, 3], [1, 0, 2, 3], [0, 1, 3, 2], [2, 3, 0, 1], [0, 2, 1, 3]])  # the report's own first
TEXTURES = torch.randn(FINDINGS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def make_pairs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [count, 1, 2 SIDE, 2 SIDE], and words [count, 5, 4] of each report and its perturbations."""
    words = torch.rand(count, FINDINGS).argsort(dim=1)[:, :4]
    pictures = TEXTURES[words].unflatten(1, (2, 2)).transpose(2, 3).reshape(count, 1, 2 * SIDE, 2 * SIDE)
    return pictures + 0.5 * torch.randn_like(pictures), words[:, ORDERS]


class DualEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, SIDE, SIDE)
        self.image = nn.Sequential(nn.Flatten(), nn.Linear(4 * WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.words = nn.Embedding(FINDINGS, WIDTH)
        self.text = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, pictures: torch.Tensor, words: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Embeddings of images [B, D] and texts [B, 5, D], regions [B, 4, D] and the words of reports [B, 4, D]."""
        regions = self.patches(pictures).flatten(2).transpose(1, 2)
        states, _ = self.text(self.words(words.flatten(0, 1)))
        return self.image(regions), states[:, -1].unflatten(0, words.shape[:2]), regions, self.words(words[:, 0])


def train(beta: float) -> tuple[list[float], float]:
    """The loss of each step, and the share of new images that prefer their report to all its perturbations."""
    torch.manual_seed(1)
    model, loss = DualEncoder(), vlp.torch.MultiScale(alpha=0.1, beta=beta)
    optimiser = torch.optim.AdamW([*model.parameters(), *loss.parameters()], lr=3e-3)
    losses = []
    for _ in range(STEPS):
        image, text, regions, words = model(*make_pairs(PAIRS))
        value = loss(image, text, regions=regions, words=words)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    with torch.no_grad():
        image, text, _, _ = model(*make_pairs(1000))
        scores = nn.functional.cosine_similarity(image[:, None], text, dim=2)
        return losses, (scores[:, :1] > scores[:, 1:]).all(dim=1).double().mean().item()


for beta in (0.0, 1.0):
    losses, share = train(beta)
    print(f"beta {beta}: loss {losses[0]:.3f} -> {losses[-1]:.3f}, report preferred to all perturbations {share:.1%}")
