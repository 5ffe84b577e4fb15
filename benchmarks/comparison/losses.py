"""What is compared: for each loss its shapes, its inputs, vlp's options, and its definition in PyTorch.

A form is a function of the inputs to the loss, written as its users write it. To add a loss, write its inputs and
forms and a line in `works()`.
"""
import dataclasses
import math
import typing

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


@dataclasses.dataclass
class OnCuda:
    """A case that is timed on a CUDA device. `bars`: how many times vlp's time the time of a form below or of a peer
    (peers.py) should be, at least; `within`: how long vlp should take on an H200, at most. Cases that have such bars are
    timed before all others, and those with `takes_long`, whose steps take seconds in PyTorch, after all others."""
    type: str
    sizes: dict
    bars: dict = dataclasses.field(default_factory=dict)
    within: float | None = None  # ms
    takes_long: bool = False

    @property
    def has_bars(self):
        return bool(self.bars) or self.within is not None


@dataclasses.dataclass
class Work:
    """A loss with its inputs and forms; `shapes` are those timed, `small` one for checks in float64."""
    loss: str                    # vlp's name
    inputs: object               # function of (draw, **sizes) to tensors by name (and a WordCount)
    forms: dict                  # label: function of the inputs
    shapes: list
    small: dict
    variants: dict = dataclasses.field(default_factory=lambda: {"vlp": {}})  # label: vlp's options
    compiled: str = "eager"      # the form that torch.compile is tried on
    on_cuda: list = dataclasses.field(default_factory=list)     # of OnCuda
    more_forms: dict = dataclasses.field(default_factory=dict)  # forms that are timed on a CUDA device alone
    exact: str = "eager"         # the form that is run in float64 there, for all others to be compared with

    @property
    def all_forms(self):
        return {**self.forms, **self.more_forms}

    @property
    def compiled_label(self):
        return "compiled" if self.compiled == "eager" else f"{self.compiled}, compiled"

    def describe(self, sizes):
        return " ".join(f"{name}={value}" for name, value in sizes.items())


class WordCount(typing.NamedTuple):
    """How many words reports have, as each contender has it at hand."""
    on_host: list             # GLoRIA's loop goes by it
    on_device: torch.Tensor   # [B]
    padding: torch.Tensor     # [B, W], true beyond the count


def for_vlp(inputs, options):
    """The same as arrays and numbers by name: what the host knows of word counts goes with the options."""
    count = inputs.get("word_count")
    if count is None:
        return inputs, options
    return {**inputs, "word_count": count.on_device}, {**options, "word_capacity": sum(count.on_host)}


class Draw:
    """Draws inputs; `normal` ones are differentiable."""

    def __init__(self, dtype, device="cpu", seed=1):
        self.dtype, self.device = dtype, device
        self.generator = torch.Generator(device).manual_seed(seed)

    def normal(self, *shape, scale=1.0, differentiable=True):
        values = torch.randn(*shape, generator=self.generator, dtype=self.dtype, device=self.device) * scale
        return values.requires_grad_(differentiable)

    def number(self, value):
        """Kept in float32 beside 16-bit inputs, as parameters are."""
        dtype = torch.float32 if self.dtype.itemsize == 2 else self.dtype
        return torch.tensor(value, dtype=dtype, device=self.device, requires_grad=True)

    def integers(self, count, *shape):
        return torch.randint(0, count, shape, generator=self.generator, device=self.device)

    def word_count(self, reports, least, most):
        """Uniform in [least, most]; the first report has the most."""
        count = least + self.integers(most - least + 1, reports)
        count[0] = most
        return WordCount(count.tolist(), count, torch.arange(most, device=self.device) >= count.unsqueeze(1))


def both_directions(scores):
    """Half the cross-entropy of rows and half that of columns, each against the diagonal."""
    target = torch.arange(scores.shape[0], device=scores.device)
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.t(), target)) / 2


# InfoNCE, as in CLIP

def info_nce_inputs(draw, B, D):
    return {"image": draw.normal(B, D), "text": draw.normal(B, D), "log_scale": draw.number(math.log(1 / 0.07))}


def info_nce(image, text, log_scale):
    return both_directions(log_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).t())


TILE_ROWS = 2048


def in_tiles(tile, rows):
    """What `tile` makes of TILE_ROWS rows and the number of the first, for all rows, each computed again in backward."""
    return [checkpoint(tile, some, i * TILE_ROWS, use_reentrant=False) for i, some in enumerate(rows.split(TILE_ROWS))]


def info_nce_tiled(image, text, log_scale):
    """Rows of the scores a tile at a time, each computed again in backward, so that B x B never exists."""
    image, text = log_scale.exp() * F.normalize(image, dim=-1), F.normalize(text, dim=-1)

    def tile(rows, begin):
        scores = rows @ text.t()
        scores = scores.float() if scores.dtype.itemsize == 2 else scores
        return scores.logsumexp(1).sum(), scores.logsumexp(0), scores.diagonal(begin).sum()

    of_rows, of_columns, own = zip(*in_tiles(tile, image))
    return (sum(of_rows) + torch.stack(of_columns).logsumexp(0).sum() - 2 * sum(own)) / (2 * image.shape[0])


# Pairwise sigmoid, as in SigLIP

def pairwise_sigmoid_inputs(draw, B, D):
    return {"image": draw.normal(B, D), "text": draw.normal(B, D), "log_scale": draw.number(math.log(10)),
            "bias": draw.number(-10.0)}


def pairwise_sigmoid(image, text, log_scale, bias):
    scores = log_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).t() + bias
    sign = 2 * torch.eye(scores.shape[0], dtype=scores.dtype, device=scores.device) - 1
    return -F.logsigmoid(sign * scores).sum() / scores.shape[0]


def pairwise_sigmoid_tiled(image, text, log_scale, bias):
    """The same without all of B x B: -log sigmoid(-s) of every pair, less s of those that belong together."""
    image, text = log_scale.exp() * F.normalize(image, dim=-1), F.normalize(text, dim=-1)

    def tile(rows, begin):
        scores = rows @ text.t()
        scores = (scores.float() if scores.dtype.itemsize == 2 else scores) + bias
        return -F.logsigmoid(-scores).sum() - scores.diagonal(begin).sum()

    return sum(in_tiles(tile, image)) / image.shape[0]


# Local alignment (GLoRIA); temperatures are vlp's defaults and the published ones

ATTENTION, WORD, PAIR = 4.0, 5.0, 10.0


def local_alignment_inputs(draw, B, W, R, D, least=None):
    """With `least`, reports have that many to W words; without it all have W."""
    inputs = {"regions": draw.normal(B, R, D, scale=0.1), "words": draw.normal(B, W, D, scale=0.1)}
    return inputs if least is None else {**inputs, "word_count": draw.word_count(B, least, W)}


def cosine(left, right):
    return (left * right).sum(-1) / (left.norm(dim=-1) * right.norm(dim=-1)).clamp(min=1e-8)


def gloria_loop(regions, words, word_count=None):
    """The loop as it was published: each report against all images by repeating its words, on feature maps [B, D, R]
    and words [B, D, W], with its transposed copies."""
    images, region_count, features = regions.shape
    context, words = regions.transpose(1, 2).contiguous(), words.transpose(1, 2).contiguous()
    columns = []
    for i, report in enumerate(words):
        if word_count is not None:
            report = report[:, :word_count.on_host[i]]
        query = report.unsqueeze(0).contiguous().repeat(images, 1, 1)                   # [B, D, W]
        attention = torch.bmm(context.transpose(1, 2).contiguous(), query)              # [B, R, W]
        attention = torch.softmax(attention.view(images * region_count, -1), dim=-1)    # over the words
        attention = attention.view(images, region_count, -1).transpose(1, 2).contiguous()
        attention = torch.softmax(ATTENTION * attention.view(-1, region_count), dim=-1).view(images, -1, region_count)
        seen = torch.bmm(context, attention.transpose(1, 2).contiguous())               # [B, D, W]
        query, seen = query.transpose(1, 2).contiguous(), seen.transpose(1, 2).contiguous()
        similarity = cosine(query.view(-1, features), seen.view(-1, features)).view(images, -1)
        columns.append(torch.log(torch.exp(WORD * similarity).sum(dim=1, keepdim=True)))
    return both_directions(PAIR * torch.cat(columns, dim=1))


def pair_scores(regions, words, word_count=None):
    """S [images, reports] at once."""
    attention = torch.einsum("ird,jwd->ijwr", regions, words)
    if word_count is not None:
        attention = attention.masked_fill(word_count.padding[:, :, None], -math.inf)
    attention = torch.softmax(ATTENTION * torch.softmax(attention, dim=2), dim=3)
    context = torch.einsum("ijwr,ird->ijwd", attention, regions)
    similarity = WORD * cosine(words.unsqueeze(0), context)
    if word_count is not None:
        similarity = similarity.masked_fill(word_count.padding, -math.inf)
    return PAIR * torch.logsumexp(similarity, dim=2)


def local_vectorised(regions, words, word_count=None):
    """All images against all reports at once."""
    return both_directions(pair_scores(regions, words, word_count))


CHUNK_NUMBERS = 1 << 28


def local_in_chunks(regions, words, word_count=None):
    """So many images at once that the contexts of all words have CHUNK_NUMBERS at most, each chunk computed again in
    backward, so that the contexts of all images never exist together."""
    images = max(1, CHUNK_NUMBERS // words.numel())
    return both_directions(torch.cat([checkpoint(pair_scores, chunk, words, word_count, use_reentrant=False)
                                      for chunk in regions.split(images)]))


# Perturbation sensitivity

def perturbation_sensitivity_inputs(draw, B, K, D):
    return {"image": draw.normal(B, D), "text": draw.normal(B, 1 + K, D), "log_scale": draw.number(math.log(1 / 0.07))}


def perturbation_sensitivity(image, text, log_scale):
    scores = log_scale.exp() * torch.einsum("bd,bkd->bk", F.normalize(image, dim=-1), F.normalize(text, dim=-1))
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64, device=scores.device))


# Token cross-entropy

def token_cross_entropy_inputs(draw, N, D, V):
    return {"hidden": draw.normal(N, D), "weight": draw.normal(V, D, scale=D ** -0.5), "bias": draw.normal(V, scale=0.1),
            "target": draw.integers(V, N)}


def token_cross_entropy(hidden, weight, bias, target):
    return F.cross_entropy(F.linear(hidden, weight, bias), target)


# Distillation; the teacher gets no gradient

TEMPERATURE = 2.0


def distillation_inputs(draw, N, V):
    return {"student": draw.normal(N, V), "teacher": draw.normal(N, V, differentiable=False)}


def distillation(student, teacher):
    return TEMPERATURE ** 2 * F.kl_div(F.log_softmax(student / TEMPERATURE, dim=-1),
                                       F.softmax(teacher / TEMPERATURE, dim=-1), reduction="batchmean")


# Token alignment

CONTRAST = 0.1


def token_alignment_inputs(draw, B, W, R, D):
    return {"regions": draw.normal(B, R, D), "words": draw.normal(B, W, D)}


def token_alignment(regions, words):
    words, regions = F.normalize(words, dim=-1), F.normalize(regions, dim=-1)
    attention = torch.softmax(torch.bmm(words, regions.transpose(1, 2)) / CONTRAST, dim=-1)
    seen = F.normalize(torch.bmm(attention, regions), dim=-1)
    scores = torch.bmm(words, seen.transpose(1, 2)) / CONTRAST      # [B, W, W]
    target = torch.arange(words.shape[1], device=words.device).repeat(len(words))
    return (F.cross_entropy(scores.flatten(0, 1), target) + F.cross_entropy(scores.mT.flatten(0, 1), target)) / 2


# The multi-scale objective; weights are vlp's defaults

ALPHA = BETA = 0.1


def multi_scale_inputs(draw, B, K, W, R, D):
    pair, tokens = perturbation_sensitivity_inputs(draw, B, K, D), local_alignment_inputs(draw, B, W, R, D)
    return {**pair, "perturbation_log_scale": draw.number(math.log(1 / 0.07)), **tokens}


def multi_scale_by(local):
    """The sum of the three terms, given the form of the local one."""
    def form(image, text, log_scale, perturbation_log_scale, regions, words):
        return (info_nce(image, text[:, 0], log_scale) + ALPHA * local(regions, words) +
                BETA * perturbation_sensitivity(image, text, perturbation_log_scale))

    return form


BF16, FLOAT = "bfloat16", "float32"


def works():
    kept = {"vlp": {}, "vlp, scores kept": {"kept_score_bytes": 8 << 30}}
    return [
        Work("info_nce", info_nce_inputs, {"eager": info_nce}, [dict(B=4096, D=512), dict(B=16384, D=256)],
             dict(B=37, D=21), kept,
             on_cuda=[OnCuda(BF16, dict(B=32768, D=512), {"eager": 1, "memeff": 1, "inf-cl": 1}),
                      OnCuda(BF16, dict(B=65536, D=768), {"memeff": 1}, within=50), OnCuda(BF16, dict(B=4096, D=512)),
                      OnCuda(BF16, dict(B=131072, D=512), takes_long=True), OnCuda(FLOAT, dict(B=4096, D=512))],
             more_forms={"tiled": info_nce_tiled}, exact="tiled"),
        Work("local_alignment", local_alignment_inputs, {"GLoRIA's loop": gloria_loop, "vectorised": local_vectorised},
             [dict(B=32, W=40, R=49, D=768), dict(B=12, W=40, R=361, D=768), dict(B=64, W=50, R=196, D=128)],
             dict(B=5, W=6, R=11, D=9, least=2), compiled="vectorised",
             on_cuda=[OnCuda(BF16, dict(B=64, W=97, R=196, D=768), {"GLoRIA's loop": 10}),
                      OnCuda(FLOAT, dict(B=64, W=97, R=196, D=768)), OnCuda(BF16, dict(B=12, W=40, R=361, D=768)),
                      OnCuda(BF16, dict(B=64, W=97, R=196, D=768, least=16)),
                      OnCuda(BF16, dict(B=512, W=97, R=49, D=768), takes_long=True)],
             more_forms={"in chunks": local_in_chunks}, exact="in chunks"),
        Work("perturbation_sensitivity", perturbation_sensitivity_inputs, {"eager": perturbation_sensitivity},
             [dict(B=512, K=9, D=128)], dict(B=7, K=3, D=10), on_cuda=[OnCuda(BF16, dict(B=512, K=9, D=768))]),
        Work("multi_scale", multi_scale_inputs, {"eager": multi_scale_by(local_vectorised)},
             [dict(B=64, K=9, W=40, R=49, D=256)], dict(B=5, K=3, W=6, R=11, D=9),
             on_cuda=[OnCuda(BF16, dict(B=64, K=9, W=97, R=196, D=768))],
             more_forms={"in chunks": multi_scale_by(local_in_chunks)}, exact="in chunks"),
        Work("token_cross_entropy", token_cross_entropy_inputs, {"eager": token_cross_entropy},
             [dict(N=2048, D=256, V=30522)], dict(N=13, D=8, V=29),
             on_cuda=[OnCuda(BF16, dict(N=8192, D=768, V=30522), {"liger-kernel": 1}),
                      OnCuda(BF16, dict(N=2048, D=256, V=30522)), OnCuda(FLOAT, dict(N=2048, D=256, V=30522))]),
        Work("pairwise_sigmoid", pairwise_sigmoid_inputs, {"eager": pairwise_sigmoid}, [dict(B=4096, D=512)],
             dict(B=37, D=21),
             on_cuda=[OnCuda(BF16, dict(B=65536, D=768), {"siglip-kernel": 1}, within=38)],
             more_forms={"tiled": pairwise_sigmoid_tiled}, exact="tiled"),
        Work("distillation", distillation_inputs, {"eager": distillation}, [dict(N=512, V=30522)], dict(N=9, V=14),
             {"vlp": {"temperature": TEMPERATURE}}, on_cuda=[OnCuda(BF16, dict(N=2048, V=30522))]),
        Work("token_alignment", token_alignment_inputs, {"eager": token_alignment}, [dict(B=64, W=40, R=49, D=768)],
             dict(B=3, W=5, R=7, D=9), on_cuda=[OnCuda(BF16, dict(B=64, W=97, R=196, D=768))]),
    ]


# Small enough for a smoke test, large enough that every block size is met.
QUICK = {
    "info_nce": [dict(B=700, D=64)], "local_alignment": [dict(B=8, W=12, R=49, D=64, least=3)],
    "perturbation_sensitivity": [dict(B=64, K=9, D=64)], "token_cross_entropy": [dict(N=300, D=32, V=2000)],
    "pairwise_sigmoid": [dict(B=700, D=64)], "distillation": [dict(N=64, V=3000)],
    "token_alignment": [dict(B=8, W=12, R=49, D=64)], "multi_scale": [dict(B=8, K=3, W=12, R=49, D=64)],
}
