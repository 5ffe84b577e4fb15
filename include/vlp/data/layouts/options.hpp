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

/// Sizes in which the patients of RSNA's pneumonia challenge are divided.
enum class RsnaProtocol {
  benchx,  ///< 18,678 to train on, 4,003 to validate and 4,003 to test, as BenchX
  mrm,     ///< 25,184, 1,500 and 3,000, as MRM
  gloria   ///< 70, 15 and 15 % as GLoRIA
};

/// Options of all layouts; each reads those that concern it.
struct Options {
  Projection projection = Projection::frontal;  ///< where the tables tell projections apart
  /// manifest: if not empty, the one column that says which entries belong together.
  std::string group_column = {};
  /// manifest: columns that hold labels, beside those that are called "label:NAME".
  std::vector<std::string> label_columns = {};
  RsnaProtocol rsna_protocol = RsnaProtocol::benchx;  ///< rsna: where the folder holds no split of its own
  StopToken stop = {};                                ///< asked between rows
  ReadProgress progress = {};                         ///< told of reports that are files of their own
};

}  // namespace vlp::data::layouts

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 3> enum_names<data::layouts::Projection>{"frontal", "lateral",
                                                                                       "both"};
template <>
inline constexpr std::array<std::string_view, 3> enum_names<data::layouts::RsnaProtocol>{"benchx", "mrm",
                                                                                         "gloria"};
}  // namespace vlp
