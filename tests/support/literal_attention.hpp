/// \file
/// Attention as its definition says, one query and head at a time.
#pragma once

#include <vlp/core/scalar.hpp>

#include <cmath>
#include <cstddef>
#include <vector>

namespace vlp::test {

/// Results of attention: a row of `width` for each query, and the mean over heads of its weights, a row of as
/// many as the longest sequence has keys, zeros where it attends to none.
struct LiteralAttention {
  std::vector<double> out, weights;
};

/// Attention from `queries` to `keys`, offsets of sequences of rows of `width` columns. Where it is causal, a
/// query attends to the keys of its sequence up to its own place.
inline LiteralAttention literal_attention(const std::vector<double>& query, const std::vector<double>& key,
                                          const std::vector<double>& value, const std::vector<Index>& queries,
                                          const std::vector<Index>& keys, Index width, Index heads,
                                          bool causal) {
  const Index d = width / heads;
  const auto at = [&](const std::vector<double>& m, Index token, Index head, Index j) {
    return m[static_cast<std::size_t>(token * width + head * d + j)];
  };
  Index longest = 0;
  for (std::size_t s = 0; s + 1 < keys.size(); ++s)
    longest = keys[s + 1] - keys[s] > longest ? keys[s + 1] - keys[s] : longest;
  LiteralAttention result;
  result.out.resize(query.size());
  result.weights.resize(query.size() / static_cast<std::size_t>(width) * static_cast<std::size_t>(longest));
  for (std::size_t s = 0; s + 1 < queries.size(); ++s)
    for (Index i = queries[s]; i < queries[s + 1]; ++i)
      for (Index h = 0; h < heads; ++h) {
        std::vector<double> weights;
        double sum = 0;
        const Index end = causal ? keys[s] + (i - queries[s]) + 1 : keys[s + 1];
        for (Index j = keys[s]; j < end; ++j) {
          double dot = 0;
          for (Index c = 0; c < d; ++c) dot += at(query, i, h, c) * at(key, j, h, c);
          weights.push_back(std::exp(dot / std::sqrt(static_cast<double>(d))));
          sum += weights.back();
        }
        for (std::size_t j = 0; j < weights.size(); ++j)
          result.weights[static_cast<std::size_t>(i * longest) + j] +=
              weights[j] / sum / static_cast<double>(heads);
        for (Index c = 0; c < d; ++c) {
          double mean = 0;
          for (std::size_t j = 0; j < weights.size(); ++j)
            mean += weights[j] / sum * at(value, keys[s] + static_cast<Index>(j), h, c);
          result.out[static_cast<std::size_t>(i * width + h * d + c)] = mean;
        }
      }
  return result;
}

}  // namespace vlp::test
