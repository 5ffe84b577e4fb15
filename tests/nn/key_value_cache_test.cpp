// Cached keys and values, and attention to rows of them.
#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/literal_attention.hpp"
#include "support/messages.hpp"

#include <vlp/nn/key_value_cache.hpp>
#include <vlp/nn/multi_head_attention.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Values = std::vector<double>;

TEST_CASE("attention to rows that stand anywhere agrees with attention to sequences") {
  const Index width = 6, heads = 3, queries = 4, keys = 3, all = 7;
  // Rows in any order, rows that several queries share, and a row twice.
  const std::vector<Index> rows{6, 0, 3, 6, 0, 1, 2, 2, 5, 4, 6, 0};
  for (const int threads : {1, 3})
    on_every_device(
        [&](auto& device) {
          using Device = DeviceOf<decltype(device)>;
          const ArrayOn<double, Device> query(device, normal_values(queries * width, 1)),
              key(device, normal_values(all * width, 2)), value(device, normal_values(all * width, 3)),
              out(device, queries * width);
          const ArrayOn<Index, Device> list(device, rows);
          attend_to_rows<double>(device, nn::AttentionToRows<double>{.query = query.view(queries, width),
                                                                     .key = key.view(all, width),
                                                                     .value = value.view(all, width),
                                                                     .rows = list.view(queries, keys),
                                                                     .heads = heads,
                                                                     .out = out.view(queries, width)});
          Values picked_keys, picked_values;
          for (const Index row : rows)
            for (Index c = 0; c < width; ++c) {
              picked_keys.push_back(key.host()[static_cast<std::size_t>(row * width + c)]);
              picked_values.push_back(value.host()[static_cast<std::size_t>(row * width + c)]);
            }
          const LiteralAttention literal =
              literal_attention(query.host(), picked_keys, picked_values, {0, 1, 2, 3, 4}, {0, 3, 6, 9, 12},
                                width, heads, false);
          CHECK(largest_difference(out.host(), literal.out) < 1e-14);
          return out.host();
        },
        threads);
}

TEST_CASE("attention to many rows does not depend on the number of threads") {
  const Index width = 64, heads = 4, queries = 40, keys = 60;
  std::vector<Index> rows;
  for (Index i = 0; i < queries * keys; ++i) rows.push_back(i * 7 % 500);
  const std::vector<float> query = normal_values<float>(queries * width, 1),
                           packed = normal_values<float>(500 * 2 * width, 2);
  const auto keys_values = as_view(packed, 500, 2 * width);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 5}) {
    Cpu device(threads);
    std::vector<float>& out = results.emplace_back(query.size());
    attend_to_rows<float>(device, {.query = as_view(query, queries, width),
                                   .key = column_range(keys_values, 0, width),
                                   .value = column_range(keys_values, width, width),
                                   .rows = as_view(std::as_const(rows), queries, keys),
                                   .heads = heads,
                                   .out = as_view(out, queries, width)});
  }
  CHECK(same_bits(results[0], results[1]));
  CHECK(same_bits(results[0], results[2]));
}

TEST_CASE("scores of rows far from zero do not overflow") {
  Cpu device(1);
  const std::vector<float> x(6, 300.0f);
  std::vector<float> out(6);
  const std::vector<Index> rows{0, 1, 2, 0, 0, 0, 2, 1, 0};
  attend_to_rows<float>(device, {.query = as_view(x, 3, 2),
                                 .key = as_view(x, 3, 2),
                                 .value = as_view(x, 3, 2),
                                 .rows = as_view(rows, 3, 3),
                                 .heads = 1,
                                 .out = as_view(out, 3, 2)});
  CHECK(largest_difference(out, std::vector<float>(6, 300.0f)) < 1e-3);
}

TEST_CASE("a cache of keys and values keeps its rows while it grows") {
  on_every_device([&](auto& device) {
    using Device = DeviceOf<decltype(device)>;
    nn::KeyValueCache<double, Device> cache(3);
    CHECK(cache.width() == 3);
    CHECK(cache.rows() == 0);
    Values expected;
    for (const Index count : {1, 2, 0, 40, 1}) {
      const Values rows = normal_values(count * 6, static_cast<std::uint32_t>(count));
      const auto added = cache.append(device, cache.rows(), count);
      CHECK(added.rows() == count);
      CHECK(added.cols() == 6);
      if (count > 0) upload(device, rows, added.data());
      expected.insert(expected.end(), rows.begin(), rows.end());
    }
    CHECK(cache.rows() == 44);
    CHECK(cache.keys().rows() == 44);
    CHECK(cache.keys().cols() == 3);
    CHECK(cache.values().data() == cache.keys().data() + 3);
    CHECK(cache.values().stride(0) == 6);
    CHECK(downloaded(device, cache.keys().data(), 44 * 6) == expected);
    // Rows behind those that are kept are written again.
    upload(device, Values(6, 7.0), cache.append(device, 2, 1).data());
    CHECK(cache.rows() == 3);
    expected.resize(12);
    expected.insert(expected.end(), 6, 7.0);
    CHECK(downloaded(device, cache.keys().data(), 18) == expected);
    return expected;
  });
  CHECK(message_of<std::invalid_argument>([] { nn::KeyValueCache<double>(0); }) ==
        "KeyValueCache: width must be at least 1, but is 0");
}

TEST_CASE("attention to cached rows names what does not fit") {
  Cpu device(1);
  Random random(1);
  nn::MultiHeadAttention<double> layer(4, 2, random);
  const Parameters<double> of_layer(device, layer);
  Values x(20), y(20);
  nn::KeyValueCache<double> cache(4);
  const std::vector<Index> numbers{0, 1, 2};
  CHECK(message_of<std::invalid_argument>([&] {
          layer.step(device, as_view(x, 3, 4), as_view(numbers, 3, 1), 0, cache, as_view(y, 3, 4));
        }) == "MultiHeadAttention: sequences are written a token at a time by causal attention alone");
  nn::MultiHeadAttention<double> causal(4, 2, random, nn::AttentionMask::causal);
  const Parameters<double> of_causal(device, causal);
  CHECK(message_of<std::invalid_argument>([&] {
          causal.step(device, as_view(x, 2, 4), as_view(numbers, 3, 1), 0, cache, as_view(y, 2, 4));
        }) == "MultiHeadAttention: x has 2 rows but there are 1 rows of the cache for each of 3 sequences");
  CHECK(message_of<std::invalid_argument>([&] {
          causal.step(device, as_view(x, 3, 4), as_view(numbers, 3, 1), 1, cache, as_view(y, 3, 4));
        }) == "KeyValueCache: 1 rows are to be kept and 3 appended, but there are 0");
  nn::KeyValueCache<double> narrow(2);
  CHECK(message_of<std::invalid_argument>([&] {
          causal.step(device, as_view(x, 3, 4), as_view(numbers, 3, 1), 0, narrow, as_view(y, 3, 4));
        }) == "MultiHeadAttention: the cache is of width 2 but must be of 4");
}
