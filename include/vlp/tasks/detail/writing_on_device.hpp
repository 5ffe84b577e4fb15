/// \file
/// The texts of a batch of pairs that decoders read, and those that they are to write, in the memory of a
/// device.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/tasks/detail/pairs_on_device.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vlp::tasks::detail {

/// Tokens that decoders are to write of a batch: those of each pair's first text except the [CLS] that it
/// begins with.
[[nodiscard]] inline Index written_tokens(const data::PairBatch& batch) {
  Index count = 0;
  for (Index pair = 0; pair < batch.pairs; ++pair) {
    const auto text = static_cast<std::size_t>(pair * batch.texts_per_pair);
    count += batch.offsets[text + 1] - batch.offsets[text] - 1;
  }
  return count;
}

/// The impressions of a data::PairBatchPart, each pair's first text, as what a decoder reads (all but the
/// last token) and is to write (all but the first), and its findings, each pair's last text. Memory is reused
/// from one part to the next.
template <class Device>
class WritingOnDevice {
 public:
  /// Copies the texts to the device.
  void assign(Device& device, const data::PairBatchPart& part) {
    tokens_.clear();
    targets_.clear();
    findings_.clear();
    token_offsets_.assign(1, 0);
    findings_offsets_.assign(1, 0);
    for (Index pair = 0; pair < part.pairs; ++pair) {
      const std::span<const std::int32_t> impression = text(part, pair * part.texts_per_pair),
                                          findings = text(part, (pair + 1) * part.texts_per_pair - 1);
      tokens_.insert(tokens_.end(), impression.begin(), impression.end() - 1);
      targets_.insert(targets_.end(), impression.begin() + 1, impression.end());
      findings_.insert(findings_.end(), findings.begin(), findings.end());
      token_offsets_.push_back(static_cast<Index>(tokens_.size()));
      findings_offsets_.push_back(static_cast<Index>(findings_.size()));
    }
    device_tokens_.assign(device, tokens_, token_offsets_);
    device_findings_.assign(device, findings_, findings_offsets_);
    send(device, targets_, device_targets_);
  }

  /// T tokens in a sequence for each pair.
  [[nodiscard]] const nn::Tokens<Device>& tokens() const { return device_tokens_; }
  /// The token after each, [T], in device memory.
  [[nodiscard]] std::span<const std::int64_t> targets() const {
    return {device_targets_.data(), targets_.size()};
  }
  [[nodiscard]] const nn::Tokens<Device>& findings() const { return device_findings_; }

 private:
  static std::span<const std::int32_t> text(const data::PairBatchPart& part, Index number) {
    const auto at = static_cast<std::size_t>(number);
    const Index first = part.offsets[at], end = part.offsets[at + 1];
    return part.pieces.subspan(static_cast<std::size_t>(first - part.offsets.front()),
                               static_cast<std::size_t>(end - first));
  }

  std::vector<std::int32_t> tokens_, findings_;
  std::vector<std::int64_t> targets_;
  std::vector<Index> token_offsets_, findings_offsets_;
  nn::Tokens<Device> device_tokens_, device_findings_;
  typename Device::template Buffer<std::int64_t> device_targets_;
};

}  // namespace vlp::tasks::detail
