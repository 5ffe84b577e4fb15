/// \file
/// Packed sequences of token ids, the input of a text encoder.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/types.hpp>

#include <algorithm>
#include <cstdint>
#include <span>

namespace vlp::nn {

namespace detail {

/// Whole numbers in device memory, whose smallest and largest the host knows.
template <class Device>
class Numbers {
 public:
  void assign(Device& device, std::span<const std::int32_t> numbers) {
    smallest_ = largest_ = {};
    if (!numbers.empty()) {
      const auto [low, high] = std::ranges::minmax_element(numbers);
      // The first of several that are equally large is named in an error.
      const auto first_high = std::ranges::find(numbers.begin(), high, *high);
      smallest_ = {*low, low - numbers.begin()};
      largest_ = {*first_high, first_high - numbers.begin()};
    }
    upload(device, numbers, numbers_.resize(static_cast<Index>(numbers.size())));
  }
  [[nodiscard]] Index count() const noexcept { return numbers_.size(); }
  [[nodiscard]] const Extreme& smallest() const noexcept { return smallest_; }
  [[nodiscard]] const Extreme& largest() const noexcept { return largest_; }
  [[nodiscard]] VectorView<const std::int32_t> view() const noexcept {
    return {numbers_.data(), {numbers_.size()}};
  }

 private:
  typename Device::template Buffer<std::int32_t> numbers_;
  Extreme smallest_, largest_;
};

}  // namespace detail

/// Packed sequences of token ids, each with a type (segment) or all of type 0. Ids, types and offsets lie in
/// device memory; their extremes are known on the host, where layers check them. An object that is assigned
/// one batch after another soon allocates nothing.
template <class Device = Cpu>
class Tokens {
 public:
  /// No sequences.
  Tokens() = default;

  /// Takes over ids [T], the offsets [S + 1] of the sequences, from 0 to T (see Sequences), and types [T],
  /// or none, which stands for type 0. Throws std::invalid_argument where those do not fit each other, and
  /// then changes nothing.
  void assign(Device& device, std::span<const std::int32_t> ids, std::span<const Index> offsets,
              std::span<const std::int32_t> type_ids = {}) {
    require(offsets.empty() || offsets.back() == static_cast<Index>(ids.size()), "Tokens: offsets end at ",
            offsets.empty() ? 0 : offsets.back(), " but there are ", ids.size(), " tokens");
    require(type_ids.empty() || type_ids.size() == ids.size(), "Tokens: ", type_ids.size(), " type ids for ",
            ids.size(), " tokens");
    sequences_.assign(device, offsets);
    ids_.assign(device, ids);
    type_ids_.assign(device, type_ids);
  }

  /// Tokens of all sequences together, T.
  [[nodiscard]] Index count() const noexcept { return ids_.count(); }
  [[nodiscard]] const Sequences<Device>& sequences() const noexcept { return sequences_; }

  /// The ids [T] in device memory.
  [[nodiscard]] VectorView<const std::int32_t> ids() const noexcept { return ids_.view(); }
  /// The types [T] in device memory; not given where all are of type 0.
  [[nodiscard]] VectorView<const std::int32_t> type_ids() const noexcept {
    return type_ids_.count() > 0 ? type_ids_.view() : VectorView<const std::int32_t>();
  }

  /// The smallest and the largest id and type, and which token has it (the first of several).
  [[nodiscard]] const Extreme& smallest_id() const noexcept { return ids_.smallest(); }
  [[nodiscard]] const Extreme& largest_id() const noexcept { return ids_.largest(); }
  [[nodiscard]] const Extreme& smallest_type_id() const noexcept { return type_ids_.smallest(); }
  [[nodiscard]] const Extreme& largest_type_id() const noexcept { return type_ids_.largest(); }

 private:
  Sequences<Device> sequences_;
  detail::Numbers<Device> ids_, type_ids_;
};

}  // namespace vlp::nn
