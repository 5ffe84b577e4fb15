/// \file
/// The word that each word piece belongs to.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/nn/types.hpp>

#include <algorithm>
#include <cstdint>
#include <span>

namespace vlp::nn {

/// For each of T word pieces the row of its word, or -1 for a piece of no word ([CLS], [SEP]). The slots lie
/// in device memory; the largest is known on the host, where layers check it.
template <class Device = Cpu>
class WordSlots {
 public:
  /// Takes over `slots` [T], each -1 or above. Throws std::invalid_argument for one below, and then changes
  /// nothing.
  void assign(Device& device, std::span<const std::int32_t> slots) {
    const auto below = std::ranges::find_if(slots, [](std::int32_t slot) { return slot < -1; });
    require(below == slots.end(), "WordSlots: slot ", below == slots.end() ? 0 : *below, " of word piece ",
            below - slots.begin(), " is below -1");
    slots_.assign(device, slots);
  }

  /// Word pieces, T.
  [[nodiscard]] Index count() const noexcept { return slots_.count(); }
  /// The largest slot and which word piece has it (the first of several).
  [[nodiscard]] const Extreme& largest() const noexcept { return slots_.largest(); }
  /// The slots [T] in device memory.
  [[nodiscard]] VectorView<const std::int32_t> slots() const noexcept { return slots_.view(); }

 private:
  detail::Numbers<Device> slots_;
};

}  // namespace vlp::nn
