"""What CUDA adds: streams, graphs and several devices."""
import math

import pytest
import torch

from vlp.torch import functional


def pairs(device, count=512, features=64, seed=1):
    random = torch.Generator(device).manual_seed(seed)
    return [torch.randn(count, features, device=device, generator=random) for _ in range(2)]


def test_a_loss_is_queued_on_the_current_stream(cuda):
    image, text = pairs(cuda)
    log_scale = torch.tensor(math.log(10), device=cuda)
    want = functional.info_nce(image.requires_grad_(), text, log_scale)
    want.backward()
    side = torch.cuda.Stream(cuda)
    side.wait_stream(torch.cuda.current_stream(cuda))
    with torch.cuda.stream(side):
        late = torch.zeros_like(image).requires_grad_()
        functional.info_nce(late, text, log_scale).backward()  # memory of this stream grows, which waits
        late.grad = None
        side.synchronize()
        torch.cuda._sleep(400_000_000)  # some tenths of a second
        with torch.no_grad():
            late.copy_(image)
        got = functional.info_nce(late, text, log_scale)
        got.backward()
        assert not side.query(), "the host has waited for the device"
    side.synchronize()
    assert torch.equal(got, want)
    assert torch.equal(late.grad, image.grad)


def test_a_training_step_is_captured_in_a_graph(cuda):
    def make():
        torch.manual_seed(3)
        model = torch.nn.ModuleDict({"image": torch.nn.Linear(64, 32), "text": torch.nn.Linear(64, 32)}).to(cuda)
        model.log_scale = torch.nn.Parameter(torch.tensor(math.log(10), device=cuda))
        return model, torch.optim.SGD(model.parameters(), lr=0.1)

    def step(model, optimizer, image, text):
        optimizer.zero_grad(set_to_none=False)
        loss = functional.info_nce(model["image"](image), model["text"](text), model.log_scale)
        loss.backward()
        optimizer.step()
        return loss

    batches = [pairs(cuda, seed=seed) for seed in range(8)]
    eager, eager_optimizer = make()
    want = [step(eager, eager_optimizer, *batch).item() for batch in batches]

    model, optimizer = make()
    image, text = (one.clone() for one in batches[0])
    side = torch.cuda.Stream(cuda)
    side.wait_stream(torch.cuda.current_stream(cuda))
    with torch.cuda.stream(side):
        got = [step(model, optimizer, image, text).item()]
        for one in batches[1:3]:
            image.copy_(one[0])
            text.copy_(one[1])
            got.append(step(model, optimizer, image, text).item())
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):  # the stream whose memory has grown
        loss = step(model, optimizer, image, text)
    for one in batches[3:]:
        image.copy_(one[0])
        text.copy_(one[1])
        graph.replay()
        got.append(loss.item())
    assert got == pytest.approx(want, rel=1e-5)
    for one, other in zip(model.parameters(), eager.parameters()):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_loss_runs_where_its_tensors_are(cuda):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one CUDA device alone")
    want = functional.info_nce(*pairs("cuda:0"), torch.tensor(1.0, device="cuda:0"))
    inputs = [one.to("cuda:1") for one in pairs("cuda:0")]
    with torch.cuda.device(0):
        got = functional.info_nce(*inputs, torch.tensor(1.0, device="cuda:1"))
        assert torch.cuda.current_device() == 0
    assert got.device == torch.device("cuda:1")
    assert got.item() == pytest.approx(want.item(), rel=1e-6)
    with pytest.raises(TypeError, match="cuda:0"):
        functional.info_nce(inputs[0], pairs("cuda:0")[1], torch.tensor(1.0, device="cuda:1"))


def test_tensors_on_the_cpu_are_refused_beside_others(cuda):
    image, text = pairs(cuda)
    with pytest.raises(TypeError, match="cpu"):
        functional.info_nce(image, text.cpu(), torch.tensor(1.0, device=cuda))
