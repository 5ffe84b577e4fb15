/// \file
/// Fingerprints of data: a run that goes on must meet the data it began with, wherever they lie by then.
#pragma once

#include <vlp/core/hash.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/example.hpp>

#include <cstdint>
#include <span>
#include <string>

namespace vlp::data {

/// Two hashes, of 16 hexadecimal digits each, by which a run recognises its data. They do not depend on
/// paths.
struct Fingerprint {
  std::string values;   ///< of the reports, and of the images' pixels as they are learned from
  std::string sources;  ///< of the reports, and of what the images were made of; empty where that is unknown
};

/// The fingerprint of a dataset. Another build, or another decoder of images, may give other `values` for the
/// same `sources`.
[[nodiscard]] inline Fingerprint fingerprint(const Dataset& dataset) {
  Hash values, sources;
  bool sources_known = true;
  for (const auto* examples : {&dataset.train, &dataset.held_out}) {
    values.add(std::uint64_t{examples->size()});
    sources.add(std::uint64_t{examples->size()});
    for (const Example& example : *examples) {
      values.add(std::span<const std::uint16_t>(example.pixels));
      values.add(example.report);
      sources.add(example.source);
      sources.add(example.report);
      sources_known = sources_known && example.source != 0;
    }
  }
  return {values.text(), sources_known ? sources.text() : std::string()};
}

}  // namespace vlp::data
