#!/usr/bin/env python3
"""What rounding to 16 bits costs local alignment: the table of docs/cuda_design.md.

Computes the loss and its gradients in double, rounding where the CUDA kernels round, and where plain PyTorch under
autocast would (products, their operands and results). Prints the largest error of the gradients of regions and of
words, each over its largest element. Needs PyTorch, on the CPU.

    alignment_rounding.py [--type bfloat16|float16]
"""
import argparse
import math

import torch

ATTENTION, WORD, PAIR = 4.0, 5.0, 10.0  # temperatures


def contrast(scores):
    rows, columns = torch.logsumexp(scores, 1).mean(), torch.logsumexp(scores, 0).mean()
    return (rows + columns) / 2 - scores.diag().mean()


def plain(regions, words, round_):
    """Gradients of the loss as its users write it, every product rounded both ways."""

    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return round_(x)

        @staticmethod
        def backward(context, gradient):
            return round_(gradient)

    regions, words = regions.clone().requires_grad_(), words.clone().requires_grad_()
    scores = Rounded.apply(torch.einsum("jwd,ird->ijwr", words, regions))
    attention = Rounded.apply(torch.softmax(ATTENTION * torch.softmax(scores, 2), -1))
    contexts = Rounded.apply(torch.einsum("ijwr,ird->ijwd", attention, regions))
    lengths = (words.norm(dim=-1)[None] * contexts.norm(dim=-1)).clamp_min(1e-8)
    cosines = (words[None] * contexts).sum(-1) / lengths
    contrast(PAIR * torch.logsumexp(WORD * cosines, -1)).backward()
    return regions.grad, words.grad


def kernels(regions, words, round_, gram, deviations=True):
    """Gradients as the kernels take them; without deviations, attention itself is rounded."""
    count = words.shape[1]
    scale = 2.0 ** math.ceil(math.log2(regions.shape[1]))
    more = torch.cat([regions, round_(regions.sum(1, keepdim=True) / scale)], 1)
    scores = torch.einsum("jwd,ird->ijwr", words, regions)
    weights = torch.softmax(scores, 2)
    base = 1.0 if deviations else 0.0
    stored = round_(torch.exp(ATTENTION * (weights - 1 / count)) - base)
    inverse = 1 / (base + stored).sum(-1, keepdim=True)
    attention = (base + stored) * inverse
    stored = torch.cat([stored, torch.full_like(stored[..., :1], base * scale)], -1)
    if gram:
        products = round_(torch.einsum("ird,isd->irs", more, more))
        looked = torch.einsum("ijwr,irs->ijws", stored, products)
        norm2 = ((stored * looked).sum(-1) * inverse[..., 0] ** 2).clamp_min(0)
        seen = looked[..., :-1] * inverse
    else:
        contexts = torch.einsum("ijwr,ird->ijwd", stored, more)
        norm2 = contexts.pow(2).sum(-1) * inverse[..., 0] ** 2
        contexts = round_(contexts)
        seen = torch.einsum("ijwd,ird->ijwr", contexts, regions) * inverse
    dot = (attention * scores).sum(-1)
    lengths = words.norm(dim=-1)[None] * norm2.sqrt()
    cosines = dot / lengths
    pairs = (PAIR * torch.logsumexp(WORD * cosines, -1)).requires_grad_()
    (d_pairs,) = torch.autograd.grad(contrast(pairs), pairs)
    pairs = pairs.detach()
    d_cosines = PAIR * WORD * torch.exp(WORD * cosines - pairs[..., None] / PAIR) * d_pairs[..., None]
    d_dot, d_norm2 = d_cosines / lengths, -d_cosines * cosines / norm2
    mean = (d_dot * dot + d_norm2 * norm2)[..., None]
    d_weights = ATTENTION * attention * (d_dot[..., None] * scores + d_norm2[..., None] * seen - mean)
    d_scores = weights * (d_weights - (weights * d_weights).sum(2, keepdim=True)) + d_dot[..., None] * attention
    d_scores, weighted = round_(d_scores), round_(d_norm2[..., None] * attention * inverse)
    d_regions = torch.einsum("ijwr,jwd->ird", d_scores, words)
    if gram:
        gathered = round_(torch.einsum("ijwr,ijws->irs", weighted, stored))
        d_regions = d_regions + torch.einsum("irs,isd->ird", gathered, more)
    else:
        d_regions = d_regions + torch.einsum("ijwr,ijwd->ird", weighted, contexts)
    pull = (-d_cosines * cosines).sum(0) / words.pow(2).sum(-1)
    return d_regions, torch.einsum("ijwr,ird->jwd", d_scores, regions) + pull[..., None] * words


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--type", choices=("bfloat16", "float16"), default="bfloat16")
    dtype = getattr(torch, parser.parse_args().type)

    def round_(x):
        return x.to(dtype).double()

    print("| B, W, R, D, scale | Gram | direct | plain | Gram, attention rounded |\n|---|---|---|---|---|")
    for batch, words_of, regions_of, features, scale, centred in (
            (6, 20, 49, 256, 0.3, False), (6, 20, 49, 768, 1.0, False), (3, 37, 8, 24, 0.5, False),
            (2, 6, 300, 2, 1.0, False), (3, 24, 64, 64, 0.1, True), (3, 24, 64, 64, 0.03, True)):
        torch.manual_seed(0)
        regions = scale * torch.randn(batch, regions_of, features, dtype=torch.double)
        if centred:
            regions = regions - regions.mean(1, keepdim=True)
        regions, words = round_(regions), round_(scale * torch.randn(batch, words_of, features, dtype=torch.double))
        want = plain(regions, words, lambda x: x)

        def errors(got):
            return ", ".join(f"{((g - w).abs().max() / w.abs().max()).item():.2g}" for g, w in zip(got, want))

        print(f"| {batch}, {words_of}, {regions_of}, {features}, {scale}{' centred' if centred else ''} "
              f"| {errors(kernels(regions, words, round_, True))} | {errors(kernels(regions, words, round_, False))} "
              f"| {errors(plain(regions, words, round_))} | {errors(kernels(regions, words, round_, True, False))} |")


if __name__ == "__main__":
    main()
