/// \file
/// The layouts in which hospitals and collections keep their data: the one list of them.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/chexpert.hpp>
#include <vlp/data/layouts/manifest.hpp>
#include <vlp/data/layouts/mimic_cxr.hpp>
#include <vlp/data/layouts/nih.hpp>
#include <vlp/data/layouts/open_i.hpp>
#include <vlp/data/layouts/options.hpp>
#include <vlp/data/layouts/padchest.hpp>
#include <vlp/data/layouts/rsna.hpp>
#include <vlp/io/file.hpp>

#include <array>
#include <string>
#include <string_view>

namespace vlp::data::layouts {

/// A layout: its name on a command line, and how it is read.
struct Layout {
  std::string_view name;   ///< "mimic-cxr"
  std::string_view place;  ///< what stands behind the name and a colon: "DIR", or "FILE.csv"
  Collection (*read)(const io::Path& place, const Options& options);
};

inline constexpr std::array<Layout, 7> all{{{"manifest", "FILE.csv", read_manifest},
                                            {"mimic-cxr", "DIR", read_mimic_cxr},
                                            {"open-i", "DIR", read_open_i},
                                            {"chexpert", "DIR", read_chexpert},
                                            {"rsna", "DIR", read_rsna},
                                            {"nih", "DIR", read_nih},
                                            {"padchest", "DIR", read_padchest}}};

/// The layouts as a command line takes them: "manifest:FILE.csv | open-i:DIR".
[[nodiscard]] inline std::string usage(std::string_view separator = " | ") {
  std::string text;
  for (const Layout& layout : all)
    text += concat(text.empty() ? "" : separator, layout.name, ":", layout.place);
  return text;
}

/// The layout that `source`, such as "open-i:DIR", begins with; null if it begins with none.
[[nodiscard]] inline const Layout* find(std::string_view source) {
  for (const Layout& layout : all)
    if (source.starts_with(layout.name) && source.substr(layout.name.size()).starts_with(':')) return &layout;
  return nullptr;
}

/// Reads the collection that `source` names by layout and place, such as "open-i:DIR". Throws
/// std::invalid_argument, naming the layouts, where it names none or no place, and what the layout throws.
[[nodiscard]] inline Collection read(std::string_view source, const Options& options = {}) {
  const Layout* layout = find(source);
  require(layout != nullptr, "data must be ", usage(" or "), ", but is '", source, "'");
  const std::string_view place = source.substr(layout->name.size() + 1);
  require(!place.empty(), "data '", source, "' names no file or folder");
  return layout->read(io::Path(place), options);
}

}  // namespace vlp::data::layouts
