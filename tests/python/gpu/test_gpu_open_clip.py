"""open_clip's training loop on a CUDA device, with its own loss and with ours."""
import math

import pytest
import torch

import vlp.torch

open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")


def test_training_with_our_loss_is_training_with_its_own(device):
    def curve(loss):
        torch.manual_seed(5)
        towers = [torch.nn.Sequential(torch.nn.Linear(48, 64), torch.nn.GELU(), torch.nn.Linear(64, 32)).to(device)
                  for _ in range(2)]
        log_scale = torch.nn.Parameter(torch.tensor(math.log(1 / 0.07), device=device))
        optimizer = torch.optim.AdamW([*towers[0].parameters(), *towers[1].parameters(), log_scale], lr=1e-3)
        random = torch.Generator().manual_seed(6)
        out = []
        for _ in range(30):
            shared = torch.randn(64, 48, generator=random)
            given = [(shared + 0.5 * torch.randn(64, 48, generator=random)).to(device) for _ in range(2)]
            image, text = (torch.nn.functional.normalize(tower(one), dim=-1) for tower, one in zip(towers, given))
            value = loss(image, text, log_scale.exp())
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            out.append(value.item())
        return out

    want, got = curve(open_clip.ClipLoss()), curve(vlp.torch.ClipLoss())
    assert want[-1] < want[0]
    assert got == pytest.approx(want, abs=1e-4)
