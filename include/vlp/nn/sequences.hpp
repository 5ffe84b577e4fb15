/// \file
/// Packed sequences of tokens.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/types.hpp>

#include <span>
#include <vector>

namespace vlp::nn {

/// Sequences of tokens, one behind the other without padding: those of sequence s are rows offsets[s] to
/// offsets[s + 1] - 1. The offsets lie in device memory, where operations read them; what layers check is
/// known on the host.
template <class Device = Cpu>
class Sequences {
 public:
  /// No sequences.
  Sequences() = default;

  /// Takes over `offsets` [S + 1], which start with 0 and never fall. Throws std::invalid_argument otherwise,
  /// and then changes nothing.
  void assign(Device& device, std::span<const Index> offsets) {
    require(!offsets.empty() && offsets.front() == 0, "Sequences: offsets must start with 0");
    Extreme longest{}, shortest{};
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
      const Index length = offsets[s + 1] - offsets[s];
      require(length >= 0, "Sequences: offsets must not fall, but sequence ", s, " is from ", offsets[s],
              " to ", offsets[s + 1]);
      if (s == 0 || length > longest.value) longest = {length, static_cast<Index>(s)};
      if (s == 0 || length < shortest.value) shortest = {length, static_cast<Index>(s)};
    }
    longest_ = longest;
    shortest_ = shortest;
    host_.assign(offsets.begin(), offsets.end());
    upload(device, offsets, offsets_.resize(static_cast<Index>(offsets.size())));
  }

  /// `count` sequences of `length` tokens each.
  void assign_equal(Device& device, Index count, Index length) {
    require(count >= 0 && length >= 0, "Sequences: there cannot be ", count, " sequences of ", length,
            " tokens");
    host_.resize(static_cast<std::size_t>(count) + 1);
    for (Index s = 0; s <= count; ++s) host_[static_cast<std::size_t>(s)] = s * length;
    longest_ = shortest_ = {count > 0 ? length : 0, 0};
    upload(device, host_, offsets_.resize(count + 1));
  }

  /// Number of sequences.
  [[nodiscard]] Index count() const noexcept {
    return host_.empty() ? 0 : static_cast<Index>(host_.size()) - 1;
  }
  /// Tokens of all sequences together.
  [[nodiscard]] Index tokens() const noexcept { return host_.empty() ? 0 : host_.back(); }
  /// Tokens of the longest and of the shortest sequence, and which sequence that is (the first of several).
  [[nodiscard]] const Extreme& longest() const noexcept { return longest_; }
  [[nodiscard]] const Extreme& shortest() const noexcept { return shortest_; }
  /// The offsets as they were assigned, on the host.
  [[nodiscard]] std::span<const Index> host_offsets() const noexcept { return host_; }

  /// The sequences as operations get them.
  [[nodiscard]] SequenceView view() const noexcept {
    return {offsets_.data(), count(), tokens(), longest_.value};
  }
  /// The first row of each sequence, in device memory.
  [[nodiscard]] VectorView<const Index> first_tokens() const noexcept { return {offsets_.data(), {count()}}; }

 private:
  std::vector<Index> host_;
  typename Device::template Buffer<Index> offsets_;
  Extreme longest_, shortest_;
};

}  // namespace vlp::nn
