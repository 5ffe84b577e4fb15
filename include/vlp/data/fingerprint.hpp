/// \file
/// Fingerprints of data: a run that goes on must meet the data it began with, wherever they lie by then.
#pragma once

#include <vlp/core/hash.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/example.hpp>

#include <cstdint>
#include <string>

namespace vlp::data {

/// Hashes, of 16 hexadecimal digits each, by which a run recognises its data. They do not depend on paths.
struct Fingerprint {
  /// Hash of the reports, and of the images' pixels as they are learned from; empty where images are decoded
  /// later.
  std::string values;
  std::string sources;  ///< of the reports, and of what the images were made of; empty where that is unknown
  std::string sizes{};  ///< of the reports, and of the sizes of the images' files; empty where there are none
};

/// The fingerprint of a dataset. Another build, or another decoder of images, may give other `values` for the
/// same `sources`. Where images are decoded later, the `sizes` of their files stand for them.
[[nodiscard]] inline Fingerprint fingerprint(const Dataset& dataset) {
  Hash values, sources, sizes;
  bool sources_known = true, sizes_known = true;
  for (const auto* examples : {&dataset.train, &dataset.held_out}) {
    for (Hash* hash : {&values, &sources, &sizes}) hash->add(std::uint64_t{examples->size()});
    for (const Example& example : *examples) {
      if (dataset.images->in_memory()) values.add(dataset.images->pixels(example.image_id));
      sources.add(example.source);
      sizes.add(example.source_bytes);
      for (Hash* hash : {&values, &sources, &sizes}) {
        hash->add(example.report);
        if (dataset.sections) hash->add(example.findings);
      }
      sources_known = sources_known && example.source != 0;
      sizes_known = sizes_known && example.source_bytes != 0;
    }
  }
  return {dataset.images->in_memory() ? values.text() : std::string(),
          sources_known ? sources.text() : std::string(), sizes_known ? sizes.text() : std::string()};
}

}  // namespace vlp::data
