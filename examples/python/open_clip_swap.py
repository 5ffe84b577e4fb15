"""Trains a small open_clip model twice, with open_clip's loss and with vlp's: one line differs, the curves do not."""
import open_clip
import torch

import vlp.torch

STEPS, PAIRS, SIDE, LENGTH, WORDS = 50, 16, 16, 4, 16


def make_pairs(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [PAIRS, 3, SIDE, SIDE] of one colour each, and texts [PAIRS, LENGTH] of a word for each channel."""
    colour = torch.randperm(64, generator=generator)[:PAIRS, None] // torch.tensor([16, 4, 1]) % 4
    noise = torch.randn(PAIRS, 3, SIDE, SIDE, generator=generator)
    ends = torch.full((PAIRS, 1), WORDS - 1)
    return colour[:, :, None, None] - 1.5 + 0.2 * noise, torch.cat((colour + torch.tensor([0, 4, 8]), ends), dim=1)


def train(loss: torch.nn.Module) -> list[float]:
    """The loss of each step."""
    torch.manual_seed(0)
    model = open_clip.CLIP(
        embed_dim=32, vision_cfg={"image_size": SIDE, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32},
        text_cfg={"context_length": LENGTH, "vocab_size": WORDS, "width": 64, "heads": 2, "layers": 2})
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(STEPS):
        image_features, text_features, logit_scale = model(*make_pairs(generator))
        value = loss(image_features, text_features, logit_scale)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    return losses


theirs = train(open_clip.ClipLoss())
ours = train(vlp.torch.ClipLoss())
print("step  open_clip  vlp")
for step in range(0, STEPS, 5):
    print(f"{step:4}  {theirs[step]:9.5f}  {ours[step]:.5f}")
print(f"largest difference {max(abs(one - other) for one, other in zip(theirs, ours)):.1e}")
