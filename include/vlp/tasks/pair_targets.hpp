/// \file
/// Inputs of losses on pairs beside the features.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <cstdint>
#include <span>

namespace vlp::tasks {

/// Inputs of the losses beside the features, in device memory.
struct PairTargets {
  MatrixView<const std::uint8_t> valid;      ///< [B, 1 + K], see PerturbationSensitivity
  std::span<const std::int64_t> word_count;  ///< [B], see LocalAlignment
  std::span<const std::int64_t> group;       ///< [B], equal where a report is right for both images
  Index word_capacity = 0;                   ///< see LocalAlignment
};

}  // namespace vlp::tasks
