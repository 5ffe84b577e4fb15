#include "support/catch.hpp"
#include "support/layer_gradient.hpp"

#include <vlp/nn/multi_head_attention.hpp>
#include <vlp/nn/transformer_block.hpp>

#include <cmath>
#include <stdexcept>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Values = std::vector<double>;

namespace {

/// The definition, one query and head at a time.
Values literal_attention(const Values& packed, const std::vector<Index>& offsets, Index width, Index heads,
                         bool causal) {
  const Index d = width / heads;
  const auto at = [&](Index token, Index third, Index head, Index j) {
    return packed[static_cast<std::size_t>(token * 3 * width + third * width + head * d + j)];
  };
  Values out(packed.size() / 3);
  for (std::size_t s = 0; s + 1 < offsets.size(); ++s)
    for (Index i = offsets[s]; i < offsets[s + 1]; ++i)
      for (Index h = 0; h < heads; ++h) {
        Values weights;
        double sum = 0;
        for (Index j = offsets[s]; j < (causal ? i + 1 : offsets[s + 1]); ++j) {
          double dot = 0;
          for (Index c = 0; c < d; ++c) dot += at(i, 0, h, c) * at(j, 1, h, c);
          weights.push_back(std::exp(dot / std::sqrt(static_cast<double>(d))));
          sum += weights.back();
        }
        for (Index c = 0; c < d; ++c) {
          double value = 0;
          for (std::size_t j = 0; j < weights.size(); ++j)
            value += weights[j] / sum * at(offsets[s] + static_cast<Index>(j), 2, h, c);
          out[static_cast<std::size_t>(i * width + h * d + c)] = value;
        }
      }
  return out;
}

}  // namespace

TEST_CASE("attention agrees with its definition") {
  Cpu device(2);
  const Index width = 6, heads = 2;
  // A sequence of one token, an empty one, and one longer than a block of queries.
  const std::vector<Index> offsets{0, 5, 6, 6, 306};
  nn::Sequences<> sequences;
  sequences.assign(device, offsets);
  const Index tokens = offsets.back();
  const Values packed = normal_values(tokens * 3 * width, 1);
  for (nn::AttentionMask mask : {nn::AttentionMask::none, nn::AttentionMask::causal}) {
    Values out(static_cast<std::size_t>(tokens * width), std::nan(""));
    Values log_sum_exp(static_cast<std::size_t>(tokens * heads));
    attention_forward<double>(device, as_view(packed, tokens, 3 * width), sequences.view(), heads, mask,
                              as_view(out, tokens, width), log_sum_exp.data());
    CHECK(largest_difference(out, literal_attention(packed, offsets, width, heads,
                                                    mask == nn::AttentionMask::causal)) < 1e-12);
  }
}

TEST_CASE("scores far from zero do not overflow") {
  Cpu device(1);
  nn::Sequences<> sequences;
  sequences.assign_equal(device, 1, 3);
  std::vector<float> packed(9 * 2, 300.0f), out(6), log_sum_exp(3), d(6, 1.0f), dpacked(18);
  attention_forward<float>(device, as_view(packed, 3, 6), sequences.view(), 1, nn::AttentionMask::none,
                           as_view(out, 3, 2), log_sum_exp.data());
  attention_backward<float>(device, as_view(packed, 3, 6), sequences.view(), 1, nn::AttentionMask::none,
                            log_sum_exp.data(), as_view(d, 3, 2), as_view(dpacked, 3, 6));
  CHECK(largest_difference(out, std::vector<float>(6, 300.0f)) < 1e-3);
  CHECK(largest_difference(dpacked, dpacked) == 0);  // no NaN
}

TEST_CASE("the gradient of attention agrees with central differences beyond one block of queries") {
  Cpu device(2);
  const Index width = 4, heads = 2, tokens = 263;
  nn::Sequences<> sequences;
  sequences.assign(device, std::vector<Index>{0, 3, tokens});
  for (nn::AttentionMask mask : {nn::AttentionMask::none, nn::AttentionMask::causal}) {
    Values packed = normal_values(tokens * 3 * width, 1), dpacked, out, dout;
    Values log_sum_exp(static_cast<std::size_t>(tokens * heads));
    LayerGradient gradient(device);
    gradient.input("query_key_value", packed, dpacked);
    gradient.output(out, dout, tokens * width);
    gradient.check(
        [&] {
          attention_forward<double>(device, as_view(packed, tokens, 3 * width), sequences.view(), heads, mask,
                                    as_view(out, tokens, width), log_sum_exp.data());
        },
        [&] {
          attention_backward<double>(device, as_view(packed, tokens, 3 * width), sequences.view(), heads,
                                     mask, log_sum_exp.data(), as_view(dout, tokens, width),
                                     as_view(dpacked, tokens, 3 * width));
        });
  }
}

TEST_CASE("gradients of attention and blocks agree with central differences") {
  Cpu device(1);  // many passes over little work
  const Index width = 6, tokens = 9;
  nn::Sequences<> offsets;
  offsets.assign(device, std::vector<Index>{0, 4, 5, 9});
  Values x = normal_values(tokens * width, 1), dx, y, dy;
  LayerGradient gradient(device);
  gradient.input("x", x, dx);
  gradient.output(y, dy, tokens * width);
  const auto check = [&](auto& layer) {
    gradient.parameters(layer);
    gradient.check(
        [&] { layer.forward(device, as_view(x, tokens, width), offsets, as_view(y, tokens, width)); },
        [&] {
          layer.backward(device, as_view(x, tokens, width), offsets, as_view(dy, tokens, width),
                         as_view(dx, tokens, width));
        });
  };
  Random random(8);
  SECTION("attention") {
    nn::MultiHeadAttention<double> layer(width, 3, random);
    check(layer);
  }
  SECTION("causal attention") {
    nn::MultiHeadAttention<double> layer(width, 2, random, nn::AttentionMask::causal);
    check(layer);
  }
  SECTION("a block that normalises before") {
    nn::TransformerBlock<double> layer({.width = width, .heads = 2}, random);
    check(layer);
  }
  SECTION("a block that normalises after") {
    nn::TransformerBlock<double> layer(
        {.width = width, .heads = 2, .hidden = 7, .norm = nn::NormPlace::after}, random);
    check(layer);
  }
}

TEST_CASE("a block's backward pass may work in place") {
  Cpu device(2);
  const Index width = 6, tokens = 9;
  nn::Sequences<> offsets;
  offsets.assign(device, std::vector<Index>{0, 4, 9});
  const Values x = normal_values(tokens * width, 1), dy = normal_values(tokens * width, 2);
  for (nn::NormPlace norm : {nn::NormPlace::before, nn::NormPlace::after}) {
    Random random(8);
    nn::TransformerBlock<double> block({.width = width, .heads = 2, .norm = norm}, random);
    const Parameters<double> parameters(device, block);
    Values y(x.size()), dx(x.size()), in_place = dy;
    block.forward(device, as_view(x, tokens, width), offsets, as_view(y, tokens, width));
    block.backward(device, as_view(x, tokens, width), offsets, as_view(dy, tokens, width),
                   as_view(dx, tokens, width));
    block.backward(device, as_view(x, tokens, width), offsets, as_view(in_place, tokens, width),
                   as_view(in_place, tokens, width));
    CHECK(dx == in_place);
  }
}

TEST_CASE("a causal block does not look ahead") {
  Cpu device(1);
  Random random(8);
  nn::TransformerBlock<double> block({.width = 4, .heads = 2, .mask = nn::AttentionMask::causal}, random);
  const Parameters<double> parameters(device, block);
  nn::Sequences<> offsets;
  offsets.assign_equal(device, 1, 6);
  Values x = normal_values(24, 1), y(24), changed(24);
  block.forward(device, as_view(x, 6, 4), offsets, as_view(y, 6, 4));
  x[5 * 4 + 1] += 1;
  block.forward(device, as_view(x, 6, 4), offsets, as_view(changed, 6, 4));
  CHECK(std::equal(y.begin(), y.begin() + 20, changed.begin()));
  CHECK(!std::equal(y.begin() + 20, y.end(), changed.begin() + 20));
}

TEST_CASE("attention names what does not fit") {
  Cpu device(1);
  Random random(1);
  CHECK_THROWS_AS((nn::MultiHeadAttention<double>(6, 4, random)), std::invalid_argument);
  CHECK_THROWS_AS((nn::MultiHeadAttention<double>(6, 0, random)), std::invalid_argument);
  nn::MultiHeadAttention<double> layer(4, 2, random);
  Values x(20), y(20);
  nn::Sequences<> sequences;
  for (const std::vector<Index>& offsets : {std::vector<Index>{}, {1, 5}, {0, 3, 2, 5}})
    CHECK_THROWS_AS(sequences.assign(device, offsets), std::invalid_argument);
  sequences.assign_equal(device, 1, 4);
  CHECK_THROWS_AS(layer.forward(device, as_view(x, 5, 4), sequences, as_view(y, 5, 4)),
                  std::invalid_argument);
}
