"""Models of open_clip, Hugging Face and GLoRIA train with vlp's losses as they do with their own."""
from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import published  # noqa: E402
from vlp.torch import ClipLoss, SigLipLoss, gloria  # noqa: E402

PAIRS = 12
WORDS = 50
LENGTH = 8


def batches(steps: int, side: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Images [PAIRS, 3, side, side] of one brightness for each word, and texts [PAIRS, LENGTH] of that word."""
    generator = torch.Generator().manual_seed(2)
    out = []
    for _ in range(steps):
        word = torch.randperm(WORDS - 2, generator=generator)[:PAIRS] + 1
        noise = torch.randn(PAIRS, 3, side, side, generator=generator)
        pattern = torch.stack([(word % 7) / 3.0, word / 20.0, (word % 3) * 1.0], dim=1)
        text = word[:, None].repeat(1, LENGTH)
        text[:, -1] = WORDS - 1  # the end of the text, whose embedding CLIP takes
        out.append((0.1 * noise + pattern[:, :, None, None], text))
    return out


def curve(model: torch.nn.Module, step, steps: int, side: int) -> list[float]:
    """The loss of each step of training: step(model, images, texts) is the loss."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for image, text in batches(steps, side):
        loss = step(model, image, text)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype, enough", [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name, loss", [("ClipLoss", ClipLoss()), ("SigLipLoss", SigLipLoss())])
def test_open_clip_trains_along_the_same_curve(name, loss, dtype, enough):
    open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is not installed")

    def train(loss):
        torch.manual_seed(1)
        bias = {"init_logit_bias": -10.0, "init_logit_scale": 2.3} if name == "SigLipLoss" else {}
        model = open_clip.CLIP(
            embed_dim=16, vision_cfg={"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
            text_cfg={"context_length": LENGTH, "vocab_size": WORDS, "width": 32, "heads": 2, "layers": 1},
            output_dict=True, **bias).to(dtype)

        def step(model, image, text):
            return loss(**model(image.to(dtype), text), output_dict=True)["contrastive_loss"]

        return curve(model, step, steps=50, side=16)

    theirs, ours = train(getattr(open_clip.loss, name)()), train(loss)
    assert theirs[-1] < 0.7 * theirs[0]
    assert max(abs(one - other) for one, other in zip(ours, theirs, strict=True)) < enough


def test_hugging_face_trains_along_the_same_curve():
    transformers = pytest.importorskip("transformers", reason="transformers cannot be imported")

    def train(step):
        torch.manual_seed(1)
        small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        small |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        vision = transformers.ViTConfig(image_size=16, patch_size=8, **small)
        text = transformers.BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, **small)
        model = transformers.VisionTextDualEncoderModel(
            transformers.VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=16))
        return curve(model, step, steps=20, side=16)

    def their_step(model, image, text):
        return model(input_ids=text, pixel_values=image, return_loss=True).loss

    def our_step(model, image, text):
        out = model(input_ids=text, pixel_values=image)
        return ClipLoss()(out.image_embeds, out.text_embeds, model.logit_scale.exp())

    theirs, ours = train(their_step), train(our_step)
    assert theirs[-1] < theirs[0]
    assert max(abs(one - other) for one, other in zip(ours, theirs, strict=True)) < 1e-4


def test_gloria_trains_along_the_same_curve():
    """A model with GLoRIA's layouts, and the weighted sum that its loop takes."""
    lengths = [LENGTH - i % 2 for i in range(PAIRS)]

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.words = torch.nn.Conv2d(3, 16, 4, 4), torch.nn.Embedding(WORDS, 16)

        def forward(self, image, text):
            features, words = self.features(image), self.words(text).transpose(1, 2)
            return features, words, features.mean((2, 3)), words.mean(2)

    def train(local_loss, global_loss):
        torch.manual_seed(1)
        maps = []

        def step(model, image, text):
            features, words, image_code, text_code = model(image, text)
            local0, local1, maps[:] = local_loss(features, words, lengths)
            global0, global1 = global_loss(image_code, text_code, temp3=10.0)
            return (local0 + local1) * 1.0 + (global0 + global1) * 0.5

        return curve(Model(), step, steps=50, side=16), [one.detach() for one in maps]

    theirs, their_maps = train(published.gloria_local, published.gloria_global)
    ours, our_maps = train(gloria.local_loss, gloria.global_loss)
    assert sum(theirs[-5:]) < 0.75 * sum(theirs[:5])
    assert max(abs(one - other) for one, other in zip(ours, theirs, strict=True)) < 1e-4
    for one, other, length in zip(our_maps, their_maps, lengths, strict=True):
        assert one.shape == other.shape == (1, length, 4, 4)
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
