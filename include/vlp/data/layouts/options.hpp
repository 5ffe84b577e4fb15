/// \file
/// How a collection is read, whatever its layout.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/read_progress.hpp>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::data::layouts {

/// Which images of a study are taken.
enum class Projection { frontal, lateral, both };

/// Options of all layouts; each reads those that concern it.
struct Options {
  Projection projection = Projection::frontal;  ///< where the tables tell projections apart
  /// manifest: if not empty, the one column that says which entries belong together.
  std::string group_column = {};
  StopToken stop = {};         ///< asked between rows
  ReadProgress progress = {};  ///< told of reports that are files of their own
};

}  // namespace vlp::data::layouts

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 3> enum_names<data::layouts::Projection>{"frontal", "lateral",
                                                                                       "both"};
}  // namespace vlp
