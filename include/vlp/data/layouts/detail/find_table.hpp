/// \file
/// Tables of a collection's folder, as they are or compressed.
#pragma once

#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/io/file.hpp>

#include <optional>
#include <string>

namespace vlp::data::layouts::detail {

/// The table `name` of a folder, or, where it is not there, the one with ".gz" behind its name; nothing where
/// neither is.
inline std::optional<io::Path> find_table(const io::Path& folder, const std::string& name) {
  for (const char* end : {"", ".gz"})
    if (io::Path path = folder / (name + end); is_file(path)) return path;
  return std::nullopt;
}

}  // namespace vlp::data::layouts::detail
