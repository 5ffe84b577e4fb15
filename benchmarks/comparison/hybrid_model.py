"""The model and the objective of hybrid pretraining's second stage, as one writes them in PyTorch: padded batches, attention
by scaled_dot_product_attention, whole matrices of logits. Parameters have vlp's names (`type_` is vlp's `type`, which a
module has already), so a checkpoint of vlp is read as it is; the same batch gives the same losses."""
import torch
import torch.nn.functional as F
from torch import nn


def gelu(x):
    return F.gelu(x, approximate="tanh")


class Attention(nn.Module):
    """Self-attention by one product for query, key and value."""

    def __init__(self, width, heads):
        super().__init__()
        self.query_key_value, self.output, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x, mask=None, causal=False):
        query, key, value = self.query_key_value(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.output(y.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.query, self.key_value, self.output = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.heads = heads

    def forward(self, x, context, mask=None):
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.key_value(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.second(gelu(self.first(x)))


class Block(nn.Module):
    def __init__(self, width, heads, norm_first, epsilon):
        super().__init__()
        self.attention, self.feed_forward, self.norm_first = Attention(width, heads), FeedForward(width), norm_first
        self.norm1, self.norm2 = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)

    def forward(self, x, mask=None):
        if self.norm_first:
            x = x + self.attention(self.norm1(x), mask)
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.feed_forward(x))


class Embedding(nn.Module):
    def __init__(self, vocabulary, positions, types, width):
        super().__init__()
        self.word = nn.Parameter(torch.empty(vocabulary, width))
        self.position = nn.Parameter(torch.empty(positions, width))
        self.type_ = nn.Parameter(torch.empty(types, width))
        self.norm = nn.LayerNorm(width, 1e-12)

    def forward(self, ids):
        return self.norm(F.embedding(ids, self.word) + self.position[:ids.shape[1]] + self.type_[0])


class TextEncoder(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.embedding = Embedding(sizes["vocabulary"], sizes["positions"], 2, sizes["width"])
        self.last = min(sizes["word_layers"], sizes["text_blocks"] + 1)
        for i in range(sizes["text_blocks"]):
            self.add_module(f"block{i}", Block(sizes["width"], sizes["heads"], False, 1e-12))

    def forward(self, ids, mask):
        """[CLS] [N, width] and pieces [N, L, width] of padded ids [N, L]."""
        states = [self.embedding(ids)]
        for name, block in self.named_children():
            if name.startswith("block"):
                states.append(block(states[-1], mask[:, None, None, :]))
        return states[-1][:, 0], sum(states[-self.last:])


class Stage(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LayerNorm(outputs)

    def forward(self, x):
        return gelu(self.norm(self.convolution(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class Stem(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stage0, self.stage1 = Stage(1, width // 4), Stage(width // 4, width // 2)
        self.last = nn.Conv2d(width // 2, width, 3, 2, 1)

    def forward(self, images):
        return self.last(self.stage1(self.stage0(images))).flatten(2).transpose(1, 2)


class ImageEncoder(nn.Module):
    """Regions come before the blocks, as vlp's default has it."""

    def __init__(self, sizes):
        super().__init__()
        self.stem = Stem(sizes["width"])
        self.positions = nn.Parameter(torch.empty((sizes["image_size"] // 8) ** 2, sizes["width"]))
        for i in range(sizes["image_blocks"]):
            self.add_module(f"block{i}", Block(sizes["width"], sizes["heads"], True, 1e-5))
        self.norm, self.region_norm = nn.LayerNorm(sizes["width"]), nn.LayerNorm(sizes["width"])

    def forward(self, images):
        x = self.stem(images) + self.positions
        regions = self.region_norm(x)
        for name, block in self.named_children():
            if name.startswith("block"):
                x = block(x)
        return self.norm(x).mean(1), regions


class DecoderBlock(nn.Module):
    def __init__(self, width, heads, branch):
        super().__init__()
        self.self_attention, self.feed_forward = Attention(width, heads), FeedForward(width)
        self.cross_attention = nn.ModuleDict({branch: CrossAttention(width, heads)})
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.branch = branch

    def forward(self, x, context, mask):
        x = x + self.self_attention(self.norm1(x), causal=True)
        x = x + self.cross_attention[self.branch](self.norm2(x), context, mask)
        return x + self.feed_forward(self.norm3(x))


class Decoder(nn.Module):
    def __init__(self, sizes, branch):
        super().__init__()
        self.embedding = Embedding(sizes["vocabulary"], sizes["positions"], 1, sizes["width"])
        for i in range(sizes["decoder_blocks"]):
            self.add_module(f"block{i}", DecoderBlock(sizes["width"], sizes["heads"], branch))
        self.norm = nn.LayerNorm(sizes["width"])
        self.output = nn.ParameterDict({"bias": nn.Parameter(torch.empty(sizes["vocabulary"]))})

    def forward(self, ids, context, mask=None):
        """Logits [B, L, V] of the token after each of ids [B, L]."""
        x = self.embedding(ids)
        for name, block in self.named_children():
            if name.startswith("block"):
                x = block(x, context, mask)
        return F.linear(self.norm(x), self.embedding.word, self.output["bias"])


class Summariser(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.text_encoder, self.decoder = TextEncoder(sizes), Decoder(sizes, "summary")

    def forward(self, batch):
        mask = batch["findings_mask"]
        pieces = self.text_encoder(batch["findings"], mask)[1]
        return self.decoder(batch["inputs"], pieces, mask[:, None, None, :])


class Hybrid(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.image_encoder, self.text_encoder = ImageEncoder(sizes), TextEncoder(sizes)
        width, shared = sizes["width"], sizes["embedding"]
        self.image_head, self.text_head = nn.Linear(width, shared), nn.Linear(width, shared)
        self.region_head, self.word_head = nn.Linear(width, shared), nn.Linear(width, shared)
        self.decoder = Decoder(sizes, "caption")
        self.log_scale = nn.Parameter(torch.empty(1))

    def forward(self, batch):
        image, regions = self.image_encoder(batch["images"])
        impression = self.text_encoder(batch["impressions"], batch["impressions_mask"])[0]
        pieces = self.text_encoder(batch["findings"], batch["findings_mask"])[1]
        # The sum of each word's pieces: pieces of no word go to one row more, which is dropped.
        slots = batch["word_slots"]
        words = pieces.new_zeros(len(slots), batch["words"] + 1, pieces.shape[2]).scatter_add(
            1, slots[:, :, None].expand_as(pieces), pieces)[:, :-1]
        return dict(image=self.image_head(image), text=self.text_head(impression), regions=self.region_head(regions),
                    words=F.normalize(self.word_head(words), dim=-1, eps=1e-12),
                    logits=self.decoder(batch["inputs"], regions))


def info_nce(image, text, log_scale, group):
    scores = log_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    same = (group[:, None] == group[None, :]) & ~torch.eye(len(group), dtype=torch.bool)
    scores = scores.masked_fill(same, -torch.inf)
    target = torch.arange(len(group))
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def token_alignment(regions, words, counts, temperature):
    """The form that takes the whole batch at once, with words padded."""
    regions, words = F.normalize(regions, dim=-1), F.normalize(words, dim=-1)
    attention = (words @ regions.transpose(1, 2) / temperature).softmax(-1)
    seen = F.normalize(attention @ regions, dim=-1)
    scores = words @ seen.transpose(1, 2) / temperature
    valid = torch.arange(words.shape[1])[None] < counts[:, None]
    scores = scores.masked_fill(~valid[:, None, :], -torch.inf)
    rows = -scores.log_softmax(2).diagonal(dim1=1, dim2=2)
    by_column = scores.masked_fill(~valid[:, :, None], -torch.inf).masked_fill(~valid[:, None, :], 0)
    columns = -by_column.log_softmax(1).diagonal(dim1=1, dim2=2)
    mean = lambda losses: losses.masked_fill(~valid, 0).sum(1) / counts
    return ((mean(rows) + mean(columns)) / 2).mean()


def objective(features, teacher_logits, batch, model, options):
    """The terms of the second stage by name. `batch["targets"]` is -100 beyond each text's end."""
    logits, targets = features["logits"].flatten(0, 1), batch["targets"].flatten()
    written = targets != -100
    t = options["distillation_temperature"]
    student = (logits[written] / t).log_softmax(-1)
    teacher = (teacher_logits.flatten(0, 1)[written] / t).log_softmax(-1)
    return {
        "global": info_nce(features["image"], features["text"], model.log_scale, batch["group"]),
        "token": token_alignment(features["regions"], features["words"], batch["word_count"], options["token_temperature"]),
        "caption": F.cross_entropy(logits, targets),
        "distillation": t * t * F.kl_div(student, teacher, log_target=True, reduction="batchmean"),
    }
