#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/messages.hpp"

#include <vlp/nn/convolution.hpp>
#include <vlp/nn/convolution_stem.hpp>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Values = std::vector<double>;

namespace {

Values literal_convolution(const Values& x, const ImageView<double>::Extents& in, const Values& weight,
                           const Values& bias, const nn::Window& w, const ImageView<double>::Extents& out) {
  Values y;
  for (Index b = 0; b < out[0]; ++b)
    for (Index oy = 0; oy < out[1]; ++oy)
      for (Index ox = 0; ox < out[2]; ++ox)
        for (Index o = 0; o < out[3]; ++o) {
          double sum = bias[static_cast<std::size_t>(o)];
          for (Index ky = 0; ky < w.size; ++ky)
            for (Index kx = 0; kx < w.size; ++kx) {
              const Index iy = oy * w.stride + ky - w.padding, ix = ox * w.stride + kx - w.padding;
              if (iy < 0 || iy >= in[1] || ix < 0 || ix >= in[2]) continue;
              for (Index c = 0; c < in[3]; ++c)
                sum += x[static_cast<std::size_t>(((b * in[1] + iy) * in[2] + ix) * in[3] + c)] *
                       weight[static_cast<std::size_t>(((o * w.size + ky) * w.size + kx) * in[3] + c)];
            }
          y.push_back(sum);
        }
  return y;
}

}  // namespace

TEST_CASE("convolutions agree with their definition and with central differences") {
  const auto window = GENERATE(nn::Window{3, 1, 1}, nn::Window{3, 2, 1}, nn::Window{2, 2, 0},
                               nn::Window{5, 3, 4}, nn::Window{1, 1, 0});
  const auto in = GENERATE(ImageView<double>::Extents{2, 6, 7, 3}, ImageView<double>::Extents{1, 2, 2, 1});
  on_every_device(
      [&](auto& device) {
        Random random(4);
        nn::Convolution<double, DeviceOf<decltype(device)>> layer(in[3], 2, window, random);
        const auto out = layer.output_extents(in);
        const Values values = normal_values(in[0] * in[1] * in[2] * in[3], 1);
        LayerGradient gradient(device);
        const auto& x = gradient.input("x", values);
        const auto& y = gradient.output(out[0] * out[1] * out[2] * out[3]);
        gradient.parameters(layer);
        const ImageView<double> xv(x.value.data(), in), d_xv(x.gradient.data(), in), yv(y.value.data(), out),
            d_yv(y.gradient.data(), out);
        Values results = gradient.check([&] { layer.forward(device, xv, yv); },
                                        [&] { layer.backward(device, xv, d_yv, d_xv); }, 12);

        ParameterList<double, DeviceOf<decltype(device)>> list;
        append_parameters(list, "", layer);
        layer.forward(device, xv, yv);
        CHECK(largest_difference(
                  y.value.host(),
                  literal_convolution(values, in, download_value(device, *list[0].parameter),
                                      download_value(device, *list[1].parameter), window, out)) < 1e-12);
        return results;
      },
      2);
}

TEST_CASE("a batch whose patches are taken in several runs is convolved as its images alone") {
  Cpu device(2);
  Random random(4);
  const Index batch = 5, size = 96, channels = 16;  // 96 * 96 * 9 * 16 elements an image: three images a run
  nn::Convolution<float> layer(channels, 3, nn::Window{3, 1, 1}, random);
  Parameters<float> parameters(device, layer);
  const auto x = normal_values<float>(batch * size * size * channels, 1);
  std::vector<float> y(static_cast<std::size_t>(batch * size * size * 3)), alone(y.size() / 5);
  layer.forward(device, as_view(x, batch, size, size, channels), as_view(y, batch, size, size, 3));
  for (Index b = 0; b < batch; ++b) {
    layer.forward(device, as_view(x, batch, size, size, channels).slice(b, 1),
                  as_view(alone, 1, size, size, 3));
    CHECK(std::equal(alone.begin(), alone.end(), y.begin() + b * static_cast<Index>(alone.size()),
                     [](float a, float c) { return std::abs(a - c) < 1e-4f; }));
  }
}

TEST_CASE("gradients of the stem agree with central differences") {
  on_every_device([](auto& device) {
    Random random(4);
    const std::vector<Index> hidden{3, 4};
    nn::ConvolutionStem<double, DeviceOf<decltype(device)>> stem(2, hidden, 5, random);
    CHECK(stem.stride() == 8);
    LayerGradient gradient(device);
    const auto& x = gradient.input("images", normal_values(2 * 16 * 16 * 2, 1));
    const auto& y = gradient.output(2 * 2 * 2 * 5);
    gradient.parameters(stem);
    return gradient.check([&] { stem.forward(device, x.value.view(2, 16, 16, 2), y.value.view(2, 2, 2, 5)); },
                          [&] {
                            stem.backward(device, x.value.view(2, 16, 16, 2), y.gradient.view(2, 2, 2, 5),
                                          x.gradient.view(2, 16, 16, 2));
                          },
                          8);
  });
}

TEST_CASE("convolutions name what does not fit") {
  Cpu device(1);
  Random random(1);
  CHECK_THROWS_AS((nn::Convolution<double>(1, 1, nn::Window{3, 0, 1}, random)), std::invalid_argument);
  CHECK_THROWS_AS((nn::Convolution<double>(1, 1, nn::Window{3, 1, -1}, random)), std::invalid_argument);
  nn::Convolution<double> layer(2, 3, nn::Window{3, 1, 0}, random);
  Values x(100), y(100);
  CHECK(message_of<std::invalid_argument>([&] {
          layer.forward(device, as_view(x, 1, 4, 4, 2), as_view(y, 1, 4, 4, 3));
        }) == "Convolution: y is 1 x 4 x 4 x 3 but must be 1 x 2 x 2 x 3");
  CHECK_THROWS_AS(layer.forward(device, as_view(x, 1, 2, 2, 2), as_view(y, 1, 0, 0, 3)),
                  std::invalid_argument);
  CHECK_THROWS_AS(layer.forward(device, as_view(x, 1, 4, 4, 1), as_view(y, 1, 2, 2, 3)),
                  std::invalid_argument);
}
