/// \file
/// Which rows of a batch are not finite, in words.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/numbers.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/example.hpp>
#include <vlp/data/pair_batch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::tasks::detail {

/// Something that a batch has for each of its pairs, and for which pairs it is not finite.
struct NotFinite {
  std::string_view what;  ///< e.g. "image"
  std::vector<char> bad;  ///< [B]
};

/// Tells which of `pairs` equal parts of features in device memory hold a number that is not finite.
template <class Device, class Features>
[[nodiscard]] NotFinite not_finite(Device& device, std::string_view what, const Features& features,
                                   Index pairs) {
  std::vector<typename Features::value_type> host(static_cast<std::size_t>(features.size()));
  download(device, features.data(), std::span(host));
  const auto part = host.size() / static_cast<std::size_t>(pairs);
  NotFinite out{what, {}};
  for (auto begin = host.begin(); begin != host.end(); begin += static_cast<std::ptrdiff_t>(part))
    out.bad.push_back(std::any_of(begin, begin + static_cast<std::ptrdiff_t>(part),
                                  [](auto x) { return !std::isfinite(x); }));
  return out;
}

/// The rows of a batch of `examples` of which something is not finite: "0 (image of a.png), 3 (image and text
/// of b.png)", or "none".
[[nodiscard]] inline std::string describe_rows(const data::PairBatch& batch,
                                               std::span<const data::Example> examples,
                                               std::span<const NotFinite> parts) {
  constexpr std::size_t most = 400;  // characters, and the rest of a row
  std::string rows;
  for (std::size_t b = 0; b < batch.examples.size() && rows.size() < most; ++b) {
    std::string bad;
    for (const NotFinite& part : parts)
      if (part.bad[b]) bad.append(bad.empty() ? "" : " and ").append(part.what);
    if (!bad.empty())
      rows += concat(rows.empty() ? "" : ", ", b, " (", bad, " of ",
                     examples[static_cast<std::size_t>(batch.examples[b])].name, ")");
  }
  return rows.empty() ? "none" : rows;
}

}  // namespace vlp::tasks::detail
