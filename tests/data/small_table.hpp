/// \file
/// A table of a few small images with their reports.
#pragma once

#include "support/temporary_folder.hpp"

#include <vlp/data/collection.hpp>
#include <vlp/io/detail/png_writer.hpp>
#include <vlp/io/file.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace vlp::test {

/// Makes a file look as if it had been written an hour ago.
inline void make_old(const io::Path& file) {
  std::filesystem::last_write_time(file,
                                   std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
}

/// Pairs of a table with images of 9 x 7 pixels that all differ, and were written an hour ago.
inline data::Collection table_of(const TemporaryFolder& folder, int pairs) {
  std::vector<std::uint8_t> samples(9 * 7);
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<std::uint8_t>(4 * i);
  data::Collection table;
  table.path = "table.csv";
  for (int i = 0; i < pairs; ++i) {
    data::Entry pair;
    samples[2] = static_cast<std::uint8_t>(i % 256);
    samples[3] = static_cast<std::uint8_t>(i / 256);
    const std::string name = "image" + std::to_string(i) + ".png";
    pair.image = folder.write(name, io::detail::PngWriter(name).write(9, 7, 1, samples.data()));
    make_old(pair.image);
    pair.findings = "Finding number " + std::to_string(i % 5) + ".";
    pair.impression = "Normal.";
    pair.report = pair.findings + " " + pair.impression;
    pair.line = i + 2;
    table.entries.push_back(pair);
  }
  return table;
}

}  // namespace vlp::test
