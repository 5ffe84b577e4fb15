// Losses in LibTorch: two linear layers are trained by InfoNCE; local alignment says where a word looks.
#include <torch/torch.h>

#include <vlp/interop/torch.hpp>
#include <vlp/losses/info_nce.hpp>
#include <vlp/losses/local_alignment.hpp>

#include <cmath>
#include <iostream>

int main() {
  torch::manual_seed(1);
  torch::nn::Linear image_head(48, 16), text_head(32, 16);
  const auto log_scale = torch::tensor(std::log(1 / 0.07f)).requires_grad_();
  auto parameters = image_head->parameters();
  for (const auto& parameter : text_head->parameters()) parameters.push_back(parameter);
  parameters.push_back(log_scale);
  torch::optim::AdamW optimizer(parameters, torch::optim::AdamWOptions(1e-2));

  const vlp::TorchLoss<vlp::InfoNce<float>> loss({.label_smoothing = 0.1});
  const auto shared = torch::randn({64, 16});  // what an image and its report have in common
  const auto images = torch::cat({shared, torch::randn({64, 32})}, 1),
             reports = torch::cat({shared, torch::randn({64, 16})}, 1);
  for (int step = 0; step <= 100; ++step) {
    const torch::Tensor value = loss(image_head(images), text_head(reports), log_scale);
    optimizer.zero_grad();
    value.backward();
    optimizer.step();
    if (step % 50 == 0) std::cout << "step " << step << ", loss " << value.item<float>() << '\n';
  }

  // Inputs and outputs by name: the attention of each word over the regions of its own image.
  const auto regions = torch::randn({4, 9, 16}), words = torch::randn({4, 5, 16});
  const auto attention = torch::empty({4, 5, 9});
  const auto alignment = vlp::TorchLoss<vlp::LocalAlignment<float>>()(
      {{"regions", regions}, {"words", words}}, {}, {{"attention", attention}});
  std::cout << "alignment " << alignment.item<float>() << ", a word looks most at region "
            << attention[0][0].argmax().item<int>() << '\n';
}
