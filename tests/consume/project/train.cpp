#include <vlp/core/random.hpp>
#include <vlp/nn/image_encoder.hpp>
#include <vlp/nn/linear.hpp>

int main() {
  vlp::Random random(1);
  const vlp::nn::Linear<float> layer(3, 2, random);
  return layer.inputs() == 3 ? 0 : 1;
}
