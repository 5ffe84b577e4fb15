/// \file
/// Paths that tables give relative to the folder of their collection.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/data/collection.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::data::layouts::detail {

/// The parts of a path between its slashes.
inline std::vector<std::string_view> parts_of_path(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t slash = 0; slash != path.npos; path.remove_prefix(slash == path.npos ? 0 : slash + 1)) {
    slash = path.find('/');
    parts.push_back(path.substr(0, slash));
  }
  return parts;
}

/// Says what is wrong with a path that must lead to somewhere within a folder, such as "leaves its folder";
/// empty if nothing is.
inline std::string fault_of_path(std::string_view path) {
  constexpr std::size_t longest = 1024;
  if (path.size() > longest) return concat("has ", path.size(), " bytes, more than a path here may have");
  if (std::any_of(path.begin(), path.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }))
    return "has a control character";
  if (path.starts_with('/')) return "is not relative to its folder";
  for (const std::string_view part : parts_of_path(path)) {
    if (part == "..") return "leaves its folder";
    if (part.empty() || part == ".") return "has an empty part";
  }
  return {};
}

/// Says what is wrong with a field of `column` that must be the name of a file without folders, such as
/// "ImageID 'a/b' is not the name of a file"; empty if nothing is.
inline std::string fault_of_name(std::string_view column, const std::string& name) {
  if (name.empty()) return concat("no ", column);
  const std::string fault = name.find('/') != name.npos ? "is not the name of a file" : fault_of_path(name);
  return fault.empty() ? fault : concat(column, " ", data::detail::shown(name), " ", fault);
}

}  // namespace vlp::data::layouts::detail
