#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/messages.hpp"

#include <vlp/nn/aggregate_to_words.hpp>
#include <vlp/nn/feed_forward.hpp>
#include <vlp/nn/gelu.hpp>
#include <vlp/nn/layer_norm.hpp>
#include <vlp/nn/linear.hpp>
#include <vlp/nn/projection_head.hpp>
#include <vlp/nn/types.hpp>
#include <vlp/nn/unit_norm.hpp>
#include <vlp/nn/word_slots.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Values = std::vector<double>;

namespace {

/// Checks on every device the gradients of a layer of the form y [T, outputs] = f(x [T, inputs]), which
/// `make(device, random)` makes.
template <class Make>
void check_row_layer(Make&& make, Index rows, Index inputs, Index outputs) {
  on_every_device(
      [&](auto& device) {
        Random random(2);
        auto layer = make(device, random);
        LayerGradient gradient(device);
        const auto& x = gradient.input("x", normal_values(rows * inputs, 1));
        const auto& y = gradient.output(rows * outputs);
        gradient.parameters(layer);
        return gradient.check(
            [&] { layer.forward(device, x.value.view(rows, inputs), y.value.view(rows, outputs)); },
            [&] {
              layer.backward(device, x.value.view(rows, inputs), y.gradient.view(rows, outputs),
                             x.gradient.view(rows, inputs));
            });
      },
      2);
}

}  // namespace

TEST_CASE("gradients of row layers agree with central differences") {
  SECTION("linear") {
    check_row_layer(
        [](auto& device, Random& random) {
          return nn::Linear<double, DeviceOf<decltype(device)>>(5, 7, random);
        },
        4, 5, 7);
  }
  SECTION("layer norm") {
    check_row_layer(
        [](auto& device, Random&) { return nn::LayerNorm<double, DeviceOf<decltype(device)>>(6); }, 300, 6,
        6);
  }
  SECTION("unit norm") {
    check_row_layer([](auto& device, Random&) { return nn::UnitNorm<double, DeviceOf<decltype(device)>>(); },
                    3, 5, 5);
  }
  for (const nn::GeluForm form : {nn::GeluForm::tanh, nn::GeluForm::erf}) {
    DYNAMIC_SECTION("GELU " << static_cast<int>(form)) {
      check_row_layer(
          [&](auto& device, Random&) { return nn::Gelu<double, DeviceOf<decltype(device)>>(form); }, 3, 7, 7);
    }
    DYNAMIC_SECTION("feed forward " << static_cast<int>(form)) {
      check_row_layer(
          [&](auto& device, Random& random) {
            return nn::FeedForward<double, DeviceOf<decltype(device)>>(4, 9, 5, random, form);
          },
          3, 4, 5);
    }
  }
  SECTION("linear projection") {
    check_row_layer(
        [](auto& device, Random& random) {
          return nn::ProjectionHead<double, DeviceOf<decltype(device)>>({.inputs = 4, .outputs = 3}, random);
        },
        3, 4, 3);
  }
  SECTION("projection with a hidden layer") {
    check_row_layer(
        [](auto& device, Random& random) {
          return nn::ProjectionHead<double, DeviceOf<decltype(device)>>(
              {.inputs = 4, .hidden = 8, .outputs = 3, .gelu = nn::GeluForm::erf}, random);
        },
        3, 4, 3);
  }
}

TEST_CASE("a linear layer is x W^T + b + residual") {
  const Values results = on_every_device([](auto& device) {
    using Device = DeviceOf<decltype(device)>;
    Random random(3);
    nn::Linear<double, Device> layer(3, 2, random);
    const Parameters<double, Device> parameters(device, layer, "head");
    const auto& list = parameters.list();
    REQUIRE(list.size() == 2);
    CHECK(list[0].name == "head.weight");
    CHECK(list[1].name == "head.bias");
    CHECK(list[0].parameter->extents() == std::vector<Index>{2, 3});
    CHECK(list[0].parameter->weight_decay() == WeightDecay::yes);
    CHECK(list[1].parameter->weight_decay() == WeightDecay::no);
    upload_value(device, *list[0].parameter, Values{1, 2, 3, 4, 5, 6});
    upload_value(device, *list[1].parameter, Values{10, 20});
    const ArrayOn<double, Device> x(device, {1, 0, -1, 2, 1, 0}), residual(device, {100, 200, 300, 400}),
        y(device, 4), sum(device, 4);
    layer.forward(device, x.view(2, 3), y.view(2, 2));
    layer.forward(device, x.view(2, 3), sum.view(2, 2), residual.view(2, 2));
    Values out = y.host();
    for (double value : sum.host()) out.push_back(value);
    return out;
  });
  CHECK(results == Values{8, 18, 14, 33, 108, 218, 314, 433});
}

TEST_CASE("input gradients are added where asked") {
  Cpu device(1);
  Random random(3);
  nn::FeedForward<double> layer(3, 5, 3, random);
  nn::LayerNorm<double> norm(3);
  const Parameters<double> of_layer(device, layer), of_norm(device, norm);
  const Values x = normal_values(6, 1), d_y = normal_values(6, 2);
  Values y(6), written(6), added(6, 1.0);
  const auto check = [&](auto& any) {
    any.forward(device, as_view(x, 2, 3), as_view(y, 2, 3));
    any.backward(device, as_view(x, 2, 3), as_view(d_y, 2, 3), as_view(written, 2, 3));
    std::fill(added.begin(), added.end(), 1.0);
    any.backward(device, as_view(x, 2, 3), as_view(d_y, 2, 3), as_view(added, 2, 3), Into::add);
    for (double& v : added) v -= 1;
    CHECK(largest_difference(added, written) < 1e-14);
  };
  check(layer);
  check(norm);
}

TEST_CASE("layer norm brings rows to mean 0 and variance 1") {
  Cpu device(2);
  const Index rows = 5, cols = 37;
  Values x = normal_values(rows * cols, 4), y(x.size());
  for (double& v : x) v = 3 * v + 7;
  nn::LayerNorm<double> norm(cols, 1e-6);
  const Parameters<double> parameters(device, norm);
  norm.forward(device, as_view(x, rows, cols), as_view(y, rows, cols));
  Values expected;
  for (Index t = 0; t < rows; ++t) {
    double mean = 0, variance = 0;
    for (Index j = 0; j < cols; ++j)
      mean += x[static_cast<std::size_t>(t * cols + j)] / static_cast<double>(cols);
    for (Index j = 0; j < cols; ++j)
      variance += std::pow(x[static_cast<std::size_t>(t * cols + j)] - mean, 2) / static_cast<double>(cols);
    for (Index j = 0; j < cols; ++j)
      expected.push_back((x[static_cast<std::size_t>(t * cols + j)] - mean) / std::sqrt(variance + 1e-6));
  }
  CHECK(largest_difference(y, expected) < 1e-12);
  Values constant(static_cast<std::size_t>(cols), 5.0), out(constant.size());
  norm.forward(device, as_view(constant, 1, cols), as_view(out, 1, cols));
  CHECK(largest_difference(out, Values(out.size(), 0.0)) < 1e-12);
}

TEST_CASE("GELU is what its form says, one close to the other, and finite far out") {
  Cpu device(2);
  Values x;
  for (double v = -12; v <= 12; v += 0.01) x.push_back(v);
  for (double v : {-1e4, 1e4, 0.0}) x.push_back(v);
  Values y(x.size()), by_tanh, by_erf, slope_of_erf;
  for (double v : x) {
    by_tanh.push_back(0.5 * v *
                      (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v))));
    by_erf.push_back(0.5 * v * std::erfc(-v / std::numbers::sqrt2));
    slope_of_erf.push_back(0.5 * std::erfc(-v / std::numbers::sqrt2) +
                           v * std::exp(-v * v / 2) / std::sqrt(2 * std::numbers::pi));
  }
  const auto size = static_cast<Index>(x.size());
  gelu_forward<double>(device, nn::GeluForm::tanh, x.data(), y.data(), size);
  CHECK(largest_difference(y, by_tanh) < 1e-12);
  CHECK(largest_difference(y, by_erf) < 5e-4);
  gelu_forward<double>(device, nn::GeluForm::erf, x.data(), y.data(), size);
  CHECK(largest_difference(y, by_erf) < 1e-14);
  const Values ones(x.size(), 1.0);
  Values slope(x.size());
  gelu_backward<double>(device, nn::GeluForm::erf, x.data(), ones.data(), slope.data(), y.data(), size);
  CHECK(largest_difference(slope, slope_of_erf) < 1e-14);
  CHECK(largest_difference(y, by_erf) < 1e-14);

  const std::vector<float> xf(x.begin(), x.end()), d_yf(x.size(), 1.0f);
  std::vector<float> yf(x.size()), d_xf(x.size()), again(x.size());
  for (const nn::GeluForm form : {nn::GeluForm::tanh, nn::GeluForm::erf}) {
    gelu_forward<float>(device, form, xf.data(), yf.data(), size);
    gelu_backward<float>(device, form, xf.data(), d_yf.data(), d_xf.data(), again.data(), size);
    CHECK(largest_difference(yf, form == nn::GeluForm::tanh ? by_tanh : by_erf) < 2e-5);
    CHECK(largest_difference(yf, again) < 1e-6);
    CHECK(largest_difference(d_xf, d_xf) == 0);  // no NaN
  }
}

TEST_CASE("word pieces are summed or averaged into words") {
  const std::vector<std::int32_t> numbers{-1, 0, 2, 2, -1, 2};
  const Values pieces{9, 9, 1, 2, 10, 20, 100, 200, 9, 9, 1000, 2000};
  for (const nn::Pooling pooling : {nn::Pooling::sum, nn::Pooling::mean}) {
    const Values words = on_every_device([&](auto& device) {
      using Device = DeviceOf<decltype(device)>;
      nn::WordSlots<Device> slots;
      slots.assign(device, numbers);
      const ArrayOn<double, Device> in(device, pieces), out(device, 8);
      nn::aggregate_to_words<double>(device, in.view(6, 2), slots, pooling, out.view(4, 2));
      return out.host();
    });
    CHECK(words == (pooling == nn::Pooling::sum ? Values{1, 2, 0, 0, 1110, 2220, 0, 0}
                                                : Values{1, 2, 0, 0, 370, 740, 0, 0}));
    on_every_device([&](auto& device) {
      nn::WordSlots<DeviceOf<decltype(device)>> slots;
      slots.assign(device, numbers);
      LayerGradient gradient(device);
      const auto& x = gradient.input("pieces", normal_values(12, 1));
      const auto& y = gradient.output(8);
      return gradient.check(
          [&] {
            nn::aggregate_to_words<double>(device, x.value.view(6, 2), slots, pooling, y.value.view(4, 2));
          },
          [&] {
            nn::aggregate_to_words_gradient<double>(device, y.gradient.view(4, 2), slots, pooling,
                                                    x.gradient.view(6, 2));
          });
    });
  }

  Cpu device(2);
  nn::WordSlots<> slots;
  slots.assign(device, numbers);
  Values words(8);
  CHECK(message_of<std::invalid_argument>([&] {
          nn::aggregate_to_words(device, as_view(pieces, 6, 2), slots, nn::Pooling::sum,
                                 as_view(words, 2, 2));
        }) == "aggregate_to_words: slot 2 of word piece 2 is not in -1 to 1");
  CHECK(message_of<std::invalid_argument>([&] {
          nn::aggregate_to_words(device, as_view(pieces, 5, 2), slots, nn::Pooling::sum,
                                 as_view(words, 4, 2));
        }) == "aggregate_to_words: 6 slots for 5 word pieces");
  CHECK(message_of<std::invalid_argument>([&] {
          slots.assign(device, std::vector<std::int32_t>{0, -1, -2});
        }) == "WordSlots: slot -2 of word piece 2 is below -1");
}

TEST_CASE("rows come to unit length and a row of zeros stays finite") {
  Cpu device(2);
  nn::UnitNorm<double> unit;
  const Values x = normal_values(15, 1);
  Values y(15), d_x(15);
  unit.forward(device, as_view(x, 3, 5), as_view(y, 3, 5));
  for (Index t = 0; t < 3; ++t) {
    double squares = 0;
    for (Index n = 0; n < 5; ++n) squares += as_view(y, 3, 5)(t, n) * as_view(y, 3, 5)(t, n);
    CHECK(std::abs(squares - 1) < 1e-14);
  }

  Values zeros(5, 0.0), gradients(5, 1.0), result(5);
  unit.forward(device, as_view(zeros, 1, 5), as_view(result, 1, 5));
  CHECK(result == zeros);
  unit.backward(device, as_view(zeros, 1, 5), as_view(gradients, 1, 5), as_view(result, 1, 5));
  for (double d : result)
    CHECK(d == 1e12);  // linear below the smallest norm, as torch.nn.functional.normalize
  CHECK(message_of<std::invalid_argument>([&] {
          unit.backward(device, as_view(x, 3, 5), as_view(y, 3, 5), as_view(d_x, 3, 5));
        }) == "UnitNorm: x is 3 x 5 but must be 1 x 5");
}

TEST_CASE("row layers name what does not fit") {
  Cpu device(1);
  Random random(1);
  nn::Linear<double> linear(3, 2, random);
  nn::LayerNorm<double> norm(3);
  nn::FeedForward<double> feed_forward(3, 4, 3, random);
  Values v(24);
  CHECK(message_of<std::invalid_argument>([&] {
          linear.forward(device, as_view(v, 2, 4), as_view(v, 2, 2));
        }) == "Linear: x has 4 columns but must have 3");
  CHECK(message_of<std::invalid_argument>([&] {
          linear.forward(device, as_view(v, 2, 3), as_view(v, 3, 2));
        }) == "Linear: y is 3 x 2 but must be 2 x 2");
  CHECK(message_of<std::invalid_argument>([&] {
          norm.backward(device, as_view(v, 2, 3), as_view(v, 2, 3), {});
        }) == "LayerNorm: x of backward is 2 x 3 but must be 0 x 3");
  CHECK(message_of<std::invalid_argument>([&] {
          feed_forward.backward(device, as_view(v, 2, 3), as_view(v, 2, 3), {});
        }) == "FeedForward: x of backward has 2 rows but that of forward had 0");
  CHECK(message_of<std::invalid_argument>([&] { nn::Linear<double>(0, 3, random); }) ==
        "Linear: inputs must be at least 1, but is 0");
  CHECK(message_of<std::invalid_argument>([&] { nn::LayerNorm<double>(3, std::nan("")); }) ==
        "LayerNorm: epsilon must be positive, but is nan");
  CHECK(message_of<std::invalid_argument>([&] {
          linear.forward(device, as_view(v, 2, 3), as_view(v, 2, 2));
        }) == "Parameter: [2] has no memory yet; make Parameters of its model before the model is used");
}
