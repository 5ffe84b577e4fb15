#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/nn/linear.hpp>
#include <vlp/tasks/contrastive.hpp>
#include <vlp/train/settings.hpp>
#include <vlp/train/trainer.hpp>

int main() {
  vlp::Cpu device(1);
  vlp::Random random(1);
  vlp::nn::Linear<float> layer(3, 2, random);
  const vlp::Parameters<float> parameters(device, layer);
  const auto settings = vlp::train::settings_of(vlp::tasks::ContrastiveOptions{});
  return parameters.size() == 8 && settings.at("alpha") == 1 ? 0 : 1;
}
