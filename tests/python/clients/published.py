"""The losses of open_clip and GLoRIA, written from their definitions: what the drop-ins must compute."""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def clip_scores(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Scores [B, N] of images [B, D] and texts [N, D], which are taken as they are."""
    return scale * image @ text.T


def clip_loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of picking the text of each image and the image of each text, by half each."""
    scores = clip_scores(image, text, scale)
    own = torch.arange(len(scores))
    return (functional.cross_entropy(scores, own) + functional.cross_entropy(scores.T, own)) / 2


def siglip_loss(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Each pair of an image and a text by itself: do they match? The sum over pairs, for each image."""
    scores = clip_scores(image, text, scale) + bias
    matches = 2 * torch.eye(*scores.shape, dtype=scores.dtype) - 1
    return functional.softplus(-matches * scores).sum() / len(scores)


def gloria_scores(features: Tensor, words: Tensor, lengths: list[int], temp1: float, temp2: float, temp3: float,
                  agg: str = "sum") -> tuple[Tensor, list[Tensor]]:
    """Scores [B, B] of images (rows) and reports, and the attention [1, n, H, W] of each report over its image.

    Huang et al., "GLoRIA", ICCV 2021, equations 3 to 8: features [B, D, H, W], words [B, D, L].
    """
    regions = features.flatten(2)
    columns, maps = [], []
    for report, length in enumerate(lengths):
        own = words[report, :, :length]
        affinity = torch.einsum("dw,bdr->bwr", own, regions).softmax(dim=1)
        attention = (temp1 * affinity).softmax(dim=2)
        context = torch.einsum("bwr,bdr->bwd", attention, regions)
        norms = own.norm(dim=0) * context.norm(dim=2)
        cosine = torch.einsum("dw,bwd->bw", own, context) / norms.clamp(min=1e-8)
        score = (temp2 * cosine).logsumexp(dim=1)
        columns.append(score if agg == "sum" else score - torch.log(torch.tensor(float(length))))
        maps.append(attention[report].reshape(1, length, *features.shape[2:]))
    return temp3 * torch.stack(columns, dim=1), maps


def two_ways(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropies of the rows and of the columns of scores [B, B]."""
    own = torch.arange(len(scores))
    return functional.cross_entropy(scores, own), functional.cross_entropy(scores.T, own)


def gloria_local(features: Tensor, words: Tensor, lengths: list[int], temp1: float = 4.0, temp2: float = 5.0,
                 temp3: float = 10.0) -> tuple[Tensor, Tensor, list[Tensor]]:
    scores, maps = gloria_scores(features, words, lengths, temp1, temp2, temp3)
    return *two_ways(scores), maps


def gloria_global(image: Tensor, text: Tensor, eps: float = 1e-8, temp3: float = 10.0) -> tuple[Tensor, Tensor]:
    norms = image.norm(dim=1, keepdim=True) * text.norm(dim=1)
    return two_ways(temp3 * (image @ text.T) / norms.clamp(min=eps))
