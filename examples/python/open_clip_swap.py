"""Trains a small open_clip model twice, with open_clip's loss and with vlp's: one line differs, the curves do not."""
import open_clip
import torch

import vlp.torch

STEPS, PAIRS, SIDE, LENGTH, WORDS = 40, 16, 16, 8, 64


def make_pairs(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [PAIRS, 3, SIDE, SIDE] of one colour, and texts [PAIRS, LENGTH] that spell it."""
    colour = torch.randint(1, WORDS - 1, (PAIRS, 3), generator=generator)
    noise = torch.randn(PAIRS, 3, SIDE, SIDE, generator=generator)
    text = torch.zeros(PAIRS, LENGTH, dtype=torch.long)
    text[:, :3] = colour
    text[:, 3] = WORDS - 1  # the end of the text
    return colour[:, :, None, None] / WORDS + 0.1 * noise, text


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
