/// \file
/// Tables of a collection's folder, as they are or compressed.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/io/file.hpp>

#include <optional>
#include <string>
#include <vector>

namespace vlp::data::layouts::detail {

/// The table `name` of a folder, or, where it is not there, the one with ".gz" behind its name; nothing where
/// neither is.
inline std::optional<io::Path> find_table(const io::Path& folder, const std::string& name) {
  for (const char* end : {"", ".gz"})
    if (io::Path path = folder / (name + end); is_file(path)) return path;
  return std::nullopt;
}

/// The same, with a note where both are there.
inline std::optional<io::Path> find_table(const io::Path& folder, const std::string& name,
                                          std::vector<std::string>& notes) {
  if (is_file(folder / name) && is_file(folder / (name + ".gz")))
    notes.push_back(concat(folder.string(), ": ", name, " is read, and not ", name, ".gz"));
  return find_table(folder, name);
}

}  // namespace vlp::data::layouts::detail
