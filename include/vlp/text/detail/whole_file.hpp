/// \file
/// The bytes of a file that a part of the text engine loads by its path.
#pragma once

#include <vlp/core/errors.hpp>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>

namespace vlp::text::detail {

/// The bytes of the file at `path`. Throws std::runtime_error that begins with `source`, which names the
/// file, if it cannot be opened or read (a folder cannot), or is larger than `limit` bytes.
[[nodiscard]] inline std::string whole_file(const std::filesystem::path& path, const std::string& source,
                                            std::size_t limit = std::size_t{1} << 30) {
  constexpr std::size_t block = std::size_t{1} << 16;
  std::ifstream file(path, std::ios::binary);
  ensure(file.is_open(), source, ": cannot be opened");
  std::string bytes;
  while (file.good()) {
    const std::size_t known = bytes.size();
    bytes.resize(known + block);
    file.read(bytes.data() + known, static_cast<std::streamsize>(block));
    bytes.resize(known + static_cast<std::size_t>(file.gcount()));
    ensure(bytes.size() <= limit, source, ": larger than ", limit, " bytes");
  }
  ensure(!file.bad(), source, ": cannot be read");
  return bytes;
}

}  // namespace vlp::text::detail
