#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/literal_attention.hpp"
#include "support/messages.hpp"

#include <vlp/nn/cross_attention.hpp>
#include <vlp/nn/multi_head_attention.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/transformer_block.hpp>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Values = std::vector<double>;

namespace {

/// Checks attention and its gradient on every device.
void check_attention(const std::vector<Index>& queries, const std::vector<Index>& keys, Index width,
                     Index heads, nn::AttentionMask mask, Index most = 30) {
  const Index of_queries = queries.back(), of_keys = keys.back();
  on_every_device([&](auto& device) {
    using Device = DeviceOf<decltype(device)>;
    nn::Sequences<Device> q, k;
    q.assign(device, queries);
    k.assign(device, keys);
    LayerGradient gradient(device);
    const auto& query = gradient.input("query", normal_values(of_queries * width, 1));
    const auto& key = gradient.input("key", normal_values(of_keys * width, 2));
    const auto& value = gradient.input("value", normal_values(of_keys * width, 3));
    const auto& out = gradient.output(of_queries * width);
    const ArrayOn<double, Device> log_sum_exp(device, of_queries * heads);
    const nn::AttentionInputs<double> inputs{.query = query.value.view(of_queries, width),
                                             .key = key.value.view(of_keys, width),
                                             .value = value.value.view(of_keys, width),
                                             .queries = q.view(),
                                             .keys = k.view(),
                                             .heads = heads,
                                             .mask = mask};
    const auto forward = [&] {
      attention_forward<double>(device, inputs, out.value.view(of_queries, width), log_sum_exp.data());
    };
    Values results = gradient.check(
        forward,
        [&] {
          attention_backward<double>(device, inputs, log_sum_exp.data(), out.gradient.view(of_queries, width),
                                     nn::AttentionGradients<double>{query.gradient.view(of_queries, width),
                                                                    key.gradient.view(of_keys, width),
                                                                    value.gradient.view(of_keys, width)});
        },
        most);
    forward();
    const LiteralAttention literal =
        literal_attention(query.value.host(), key.value.host(), value.value.host(), queries, keys, width,
                          heads, mask == nn::AttentionMask::causal);
    CHECK(largest_difference(out.value.host(), literal.out) < 1e-12);
    // A column more than there are keys.
    const Index longest = k.longest().value;
    const ArrayOn<double, Device> weights(device, of_queries * (longest + 1));
    mean_attention_weights<double>(device, inputs, log_sum_exp.data(), weights.view(of_queries, longest + 1));
    const Values all = weights.host();
    Values by_key, beyond;
    for (std::size_t i = 0; i < all.size(); ++i)
      (static_cast<Index>(i) % (longest + 1) < longest ? by_key : beyond).push_back(all[i]);
    CHECK(largest_difference(by_key, literal.weights) < 1e-14);
    CHECK(beyond == Values(static_cast<std::size_t>(of_queries), 0.0));
    results.insert(results.end(), all.begin(), all.end());
    return results;
  });
}

/// Checks on every device the gradients of a layer of the form y = f(x, sequences), which
/// `make(device, random)` makes.
template <class Make>
void check_sequence_layer(Make&& make) {
  const Index width = 6, tokens = 9;
  on_every_device([&](auto& device) {
    Random random(8);
    auto layer = make(device, random);
    nn::Sequences<DeviceOf<decltype(device)>> sequences;
    sequences.assign(device, std::vector<Index>{0, 4, 5, 9});
    LayerGradient gradient(device);
    const auto& x = gradient.input("x", normal_values(tokens * width, 1));
    const auto& y = gradient.output(tokens * width);
    gradient.parameters(layer);
    return gradient.check(
        [&] { layer.forward(device, x.value.view(tokens, width), sequences, y.value.view(tokens, width)); },
        [&] {
          layer.backward(device, x.value.view(tokens, width), sequences, y.gradient.view(tokens, width),
                         x.gradient.view(tokens, width));
        });
  });
}

}  // namespace

TEST_CASE("attention agrees with its definition and with central differences") {
  for (nn::AttentionMask mask : {nn::AttentionMask::none, nn::AttentionMask::causal}) {
    // A sequence of one token and an empty one; and one longer than a block of queries.
    check_attention({0, 5, 6, 6, 9}, {0, 5, 6, 6, 9}, 6, 2, mask);
    check_attention({0, 3, 263}, {0, 3, 263}, 4, 2, mask, 4);
  }
}

TEST_CASE("attention from one set of sequences to another agrees with its definition and its differences") {
  // Fewer keys than queries, more, one, keys without queries, and neither.
  check_attention({0, 4, 6, 9, 9, 9}, {0, 2, 7, 8, 11, 11}, 6, 3, nn::AttentionMask::none);
  check_attention({0, 270, 272}, {0, 5, 9}, 2, 1, nn::AttentionMask::none, 6);  // two blocks of queries
  check_attention({0, 0, 0}, {0, 2, 2}, 2, 1, nn::AttentionMask::none);         // no queries at all
}

TEST_CASE("scores far from zero do not overflow") {
  Cpu device(1);
  nn::Sequences<> sequences;
  sequences.assign_equal(device, 1, 3);
  const std::vector<float> x(6, 300.0f), d(6, 1.0f);
  std::vector<float> out(6), log_sum_exp(3), d_query(6), d_key(6), d_value(6);
  const nn::AttentionInputs<float> inputs{.query = as_view(x, 3, 2),
                                          .key = as_view(x, 3, 2),
                                          .value = as_view(x, 3, 2),
                                          .queries = sequences.view(),
                                          .keys = sequences.view(),
                                          .heads = 1,
                                          .mask = nn::AttentionMask::none};
  attention_forward<float>(device, inputs, as_view(out, 3, 2), log_sum_exp.data());
  attention_backward<float>(device, inputs, log_sum_exp.data(), as_view(d, 3, 2),
                            {as_view(d_query, 3, 2), as_view(d_key, 3, 2), as_view(d_value, 3, 2)});
  CHECK(largest_difference(out, std::vector<float>(6, 300.0f)) < 1e-3);
  for (const auto& gradient : {d_query, d_key, d_value})
    CHECK(largest_difference(gradient, gradient) == 0);  // no NaN
  std::vector<float> weights(9);
  mean_attention_weights<float>(device, inputs, log_sum_exp.data(), as_view(weights, 3, 3));
  CHECK(largest_difference(weights, std::vector<float>(9, 1 / 3.0f)) < 1e-2);  // of scores of 1.3e5
}

TEST_CASE("gradients of attention layers and blocks agree with central differences") {
  SECTION("attention") {
    check_sequence_layer([](auto& device, Random& random) {
      return nn::MultiHeadAttention<double, DeviceOf<decltype(device)>>(6, 3, random);
    });
  }
  SECTION("causal attention") {
    check_sequence_layer([](auto& device, Random& random) {
      return nn::MultiHeadAttention<double, DeviceOf<decltype(device)>>(6, 2, random,
                                                                        nn::AttentionMask::causal);
    });
  }
  SECTION("a block that normalises before") {
    check_sequence_layer([](auto& device, Random& random) {
      return nn::TransformerBlock<double, DeviceOf<decltype(device)>>(
          {.width = 6, .heads = 2, .gelu = nn::GeluForm::erf}, random);
    });
  }
  SECTION("a block that normalises after") {
    check_sequence_layer([](auto& device, Random& random) {
      return nn::TransformerBlock<double, DeviceOf<decltype(device)>>(
          {.width = 6, .heads = 2, .hidden = 7, .norm = nn::NormPlace::after}, random);
    });
  }
}

TEST_CASE("gradients of cross-attention agree with central differences") {
  const Index width = 6, context_width = 5, of_x = 9, of_context = 8;
  on_every_device([&](auto& device) {
    using Device = DeviceOf<decltype(device)>;
    Random random(8);
    nn::CrossAttention<double, Device> layer(width, context_width, 3, random);
    nn::Sequences<Device> queries, keys;
    queries.assign(device, std::vector<Index>{0, 4, 5, 5, 9});
    keys.assign(device, std::vector<Index>{0, 1, 4, 6, 8});
    LayerGradient gradient(device);
    const auto& x = gradient.input("x", normal_values(of_x * width, 1));
    const auto& context = gradient.input("context", normal_values(of_context * context_width, 2));
    const auto& y = gradient.output(of_x * width);
    gradient.parameters(layer);
    const typename nn::CrossAttention<double, Device>::Inputs inputs{
        x.value.view(of_x, width), queries, context.value.view(of_context, context_width), keys};
    return gradient.check([&] { layer.forward(device, inputs, y.value.view(of_x, width)); },
                          [&] {
                            layer.backward(device, inputs, y.gradient.view(of_x, width),
                                           {.x = x.gradient.view(of_x, width),
                                            .context = context.gradient.view(of_context, context_width)});
                          });
  });
}

TEST_CASE(
    "cross-attention says how much each row of the context weighs, and takes keys and values as given") {
  const Index width = 6, context_width = 5, of_x = 6, of_context = 8;
  const std::vector<Index> x_offsets{0, 4, 4, 6}, context_offsets{0, 1, 4, 8};
  on_every_device([&](auto& device) {
    using Device = DeviceOf<decltype(device)>;
    Random random(8);
    nn::CrossAttention<double, Device> layer(width, context_width, 2, random);
    const Parameters<double, Device> parameters(device, layer);
    nn::Sequences<Device> queries, keys;
    queries.assign(device, x_offsets);
    keys.assign(device, context_offsets);
    const ArrayOn<double, Device> x(device, normal_values(of_x * width, 1)),
        context(device, normal_values(of_context * context_width, 2)), y(device, of_x * width),
        plain(device, of_x * width), halves(device, of_x * width), weights(device, of_x * 4),
        again(device, of_x * 4), keys_values(device, of_context * 2 * width);
    const typename nn::CrossAttention<double, Device>::Inputs inputs{
        x.view(of_x, width), queries, context.view(of_context, context_width), keys};
    layer.forward(device, inputs, plain.view(of_x, width), x.view(of_x, width));
    layer.forward(device, inputs, y.view(of_x, width), x.view(of_x, width), weights.view(of_x, 4));
    layer.project_context(device, inputs.context, keys_values.view(of_context, 2 * width));
    layer.attend(device, inputs.x, queries, keys_values.view(of_context, 2 * width), keys,
                 halves.view(of_x, width), x.view(of_x, width), again.view(of_x, 4));
    CHECK(same_bits(y.host(), plain.host()));
    CHECK(same_bits(y.host(), halves.host()));
    CHECK(same_bits(weights.host(), again.host()));

    // The layer's queries and keys, as x W^T + b says.
    const auto& list = parameters.list();
    const auto rows_of = [&](const Values& in, Index rows, Index columns, std::size_t first, Index outputs) {
      const Values w = download_value(device, *list[first].parameter),
                   b = download_value(device, *list[first + 1].parameter);
      Values out;
      for (Index t = 0; t < rows; ++t)
        for (Index o = 0; o < outputs; ++o) {
          double sum = b[static_cast<std::size_t>(o)];
          for (Index i = 0; i < columns; ++i)
            sum +=
                in[static_cast<std::size_t>(t * columns + i)] * w[static_cast<std::size_t>(o * columns + i)];
          out.push_back(sum);
        }
      return out;
    };
    const Values query = rows_of(x.host(), of_x, width, 0, width);
    const Values key = rows_of(context.host(), of_context, context_width, 2, width);
    const LiteralAttention literal =
        literal_attention(query, key, key, x_offsets, context_offsets, width, 2, false);
    CHECK(largest_difference(weights.host(), literal.weights) < 1e-14);
    return weights.host();
  });
}

TEST_CASE("cross-attention to the sequences themselves is self-attention") {
  Cpu device(1);
  Random random(8);
  const Index width = 6, tokens = 9;
  nn::MultiHeadAttention<double> self(width, 2, random);
  nn::CrossAttention<double> cross(width, width, 2, random);
  const Parameters<double> of_self(device, self), of_cross(device, cross);
  // Weight and bias of query, key and value in one; query, then key and value; output.
  const auto& s = of_self.list();
  const auto& c = of_cross.list();
  REQUIRE(s.size() == 4);
  REQUIRE(c.size() == 6);
  for (std::size_t i : {0u, 1u}) {
    const Values packed = download_value(device, *s[i].parameter);
    const auto third = packed.size() / 3;
    upload_value(device, *c[i].parameter, std::span(packed).first(third));
    upload_value(device, *c[i + 2].parameter, std::span(packed).subspan(third));
    upload_value(device, *c[i + 4].parameter, download_value(device, *s[i + 2].parameter));
  }
  nn::Sequences<> sequences;
  sequences.assign(device, std::vector<Index>{0, 4, 9});
  const Values x = normal_values(tokens * width, 1), d_y = normal_values(tokens * width, 2);
  Values y(x.size()), d_x(x.size(), 1.0), other(x.size()), d_other(x.size(), 1.0);
  const auto on = [&](auto& values) { return as_view(values, tokens, width); };
  self.forward(device, on(x), sequences, on(y), on(x));
  self.backward(device, on(x), sequences, on(d_y), on(d_x), Into::add);
  const nn::CrossAttention<double>::Inputs inputs{on(x), sequences, on(x), sequences};
  cross.forward(device, inputs, on(other), on(x));
  cross.backward(device, inputs, on(d_y),
                 {.x = on(d_other), .context = on(d_other), .into_x = Into::add, .into_context = Into::add});
  CHECK(largest_difference(y, other) < 1e-13);
  CHECK(largest_difference(d_x, d_other) < 1e-13);
}

TEST_CASE("a block's backward pass may work in place") {
  Cpu device(2);
  const Index width = 6, tokens = 9;
  nn::Sequences<> sequences;
  sequences.assign(device, std::vector<Index>{0, 4, 9});
  const Values x = normal_values(tokens * width, 1), d_y = normal_values(tokens * width, 2);
  for (nn::NormPlace norm : {nn::NormPlace::before, nn::NormPlace::after}) {
    Random random(8);
    nn::TransformerBlock<double> block({.width = width, .heads = 2, .norm = norm}, random);
    const Parameters<double> parameters(device, block);
    Values y(x.size()), d_x(x.size()), in_place = d_y;
    block.forward(device, as_view(x, tokens, width), sequences, as_view(y, tokens, width));
    block.backward(device, as_view(x, tokens, width), sequences, as_view(d_y, tokens, width),
                   as_view(d_x, tokens, width));
    block.backward(device, as_view(x, tokens, width), sequences, as_view(in_place, tokens, width),
                   as_view(in_place, tokens, width));
    CHECK(d_x == in_place);
  }
}

TEST_CASE("a causal block does not look ahead") {
  Cpu device(1);
  Random random(8);
  nn::TransformerBlock<double> block({.width = 4, .heads = 2, .mask = nn::AttentionMask::causal}, random);
  const Parameters<double> parameters(device, block);
  nn::Sequences<> sequences;
  sequences.assign_equal(device, 1, 6);
  Values x = normal_values(24, 1), y(24), changed(24);
  block.forward(device, as_view(x, 6, 4), sequences, as_view(y, 6, 4));
  x[5 * 4 + 1] += 1;
  block.forward(device, as_view(x, 6, 4), sequences, as_view(changed, 6, 4));
  CHECK(std::equal(y.begin(), y.begin() + 20, changed.begin()));
  CHECK(!std::equal(y.begin() + 20, y.end(), changed.begin() + 20));
}

TEST_CASE("attention names what does not fit") {
  Cpu device(1);
  Random random(1);
  CHECK(message_of<std::invalid_argument>([&] { nn::MultiHeadAttention<double>(6, 4, random); }) ==
        "MultiHeadAttention: the width 6 is not a multiple of the 4 heads");
  CHECK(message_of<std::invalid_argument>([&] { nn::CrossAttention<double>(6, 3, 0, random); }) ==
        "CrossAttention: heads must be at least 1, but is 0");
  nn::MultiHeadAttention<double> layer(4, 2, random);
  nn::CrossAttention<double> cross(4, 3, 2, random);
  const Parameters<double> of_layer(device, layer), of_cross(device, cross);
  Values x(20), y(20);
  nn::Sequences<> queries, keys;
  queries.assign_equal(device, 1, 4);
  CHECK(message_of<std::invalid_argument>([&] {
          layer.forward(device, as_view(x, 5, 4), queries, as_view(y, 5, 4));
        }) == "MultiHeadAttention: x has 5 rows but the sequences have 4 tokens");
  CHECK(message_of<std::invalid_argument>([&] {
          layer.backward(device, as_view(x, 4, 4), queries, as_view(y, 4, 4), {});
        }) == "MultiHeadAttention: x of backward has 4 rows but that of forward had 0");

  const auto error = [&](const std::vector<Index>& of_x, const std::vector<Index>& of_context,
                         Index context_rows) {
    queries.assign(device, of_x);
    keys.assign(device, of_context);
    return message_of<std::invalid_argument>([&] {
      cross.forward(device, {as_view(x, 4, 4), queries, as_view(x, context_rows, 3), keys}, as_view(y, 4, 4));
    });
  };
  CHECK(error({0, 2, 4}, {0, 1, 5}, 5) == "no error");
  CHECK(error({0, 0, 4}, {0, 1, 5}, 5) == "no error");
  CHECK(error({0, 2, 4}, {0, 5, 5}, 5) == "CrossAttention: sequence 1 has 2 tokens but no context");
  CHECK(error({0, 2, 4}, {0, 5}, 5) == "CrossAttention: x has 2 sequences but the context has 1");
  CHECK(error({0, 2, 4}, {0, 1, 5}, 6) ==
        "CrossAttention: the context has 6 rows but the sequences have 5 tokens");
  CHECK(error({0, 2, 3}, {0, 1, 5}, 5) == "CrossAttention: x has 4 rows but the sequences have 3 tokens");
  queries.assign(device, std::vector<Index>{0, 4});
  keys.assign(device, std::vector<Index>{0, 3});
  const auto shape_error = [&](Index x_columns, Index context_columns, MatrixView<double> weights) {
    return message_of<std::invalid_argument>([&] {
      cross.forward(device, {as_view(x, 4, x_columns), queries, as_view(x, 3, context_columns), keys},
                    as_view(y, 4, 4), {}, weights);
    });
  };
  CHECK(shape_error(4, 3, as_view(y, 4, 3)) == "no error");
  CHECK(shape_error(5, 3, {}) == "CrossAttention: x has 5 columns but must have 4");
  CHECK(shape_error(4, 2, {}) == "CrossAttention: the context has 2 columns but must have 3");
  CHECK(shape_error(4, 3, as_view(y, 4, 4)) == "CrossAttention: attention is 4 x 4 but must be 4 x 3");
  CHECK(message_of<std::invalid_argument>([&] {
          cross.attend(device, as_view(x, 4, 4), queries, as_view(x, 3, 4), keys, as_view(y, 4, 4));
        }) == "CrossAttention: the projected context has 4 columns but must have 8");
  queries.assign_equal(device, 1, 4);
  keys.assign_equal(device, 1, 2);
  CHECK(message_of<std::invalid_argument>([&] {
          cross.backward(device, {as_view(x, 4, 4), queries, as_view(x, 2, 3), keys}, as_view(y, 4, 4), {});
        }) == "CrossAttention: the context of backward has 2 rows but that of forward had 3");
}
