/// \file
/// Batches of pairs in the memory of a device: what an encoder reads, and what the losses read beside
/// features.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/nn/word_slots.hpp>
#include <vlp/tasks/pair_targets.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <span>
#include <vector>

namespace vlp::tasks::detail {

/// Copies a host's array to memory of the device that grows with it.
template <class Device, class T>
void send(Device& device, const std::vector<T>& host, typename Device::template Buffer<T>& memory) {
  upload(device, std::span<const T>(host), memory.resize(static_cast<Index>(host.size())));
}

/// A data::PairBatchPart in device memory, as a DualEncoder reads it. Memory is reused from one to the next.
template <class Scalar, class Device>
class PairInputsOnDevice {
 public:
  /// Copies images of image_size x image_size pixels and texts to the device.
  void assign(Device& device, const data::PairBatchPart& part, Index image_size) {
    pairs_ = part.pairs;
    texts_per_pair_ = part.texts_per_pair;
    words_per_text_ = part.max_words;
    image_size_ = image_size;
    host_images_.assign(part.images.begin(), part.images.end());
    send(device, host_images_, images_);
    offsets_.clear();
    std::ranges::transform(part.offsets, std::back_inserter(offsets_),
                           [&](Index offset) { return offset - part.offsets.front(); });
    texts_.assign(device, part.pieces, offsets_);
    const auto first_word = static_cast<std::int32_t>(part.first_pair * part.max_words);
    slots_.clear();
    std::ranges::transform(part.word_slot, std::back_inserter(slots_),
                           [&](std::int32_t slot) { return slot < 0 ? slot : slot - first_word; });
    word_slots_.assign(device, slots_);
  }

  [[nodiscard]] models::PairInputs<Scalar, Device> view() const {
    return {.images = {images_.data(), {pairs_, image_size_, image_size_, 1}},
            .texts = texts_,
            .word_slots = word_slots_,
            .texts_per_pair = texts_per_pair_,
            .words_per_text = words_per_text_};
  }

 private:
  Index pairs_ = 0, texts_per_pair_ = 1, words_per_text_ = 0, image_size_ = 0;
  std::vector<Scalar> host_images_;
  std::vector<Index> offsets_;
  std::vector<std::int32_t> slots_;
  typename Device::template Buffer<Scalar> images_;
  nn::Tokens<Device> texts_;
  nn::WordSlots<Device> word_slots_;
};

/// The PairTargets of a data::PairBatch, in device memory that is reused from batch to batch.
template <class Device>
class PairTargetsOnDevice {
 public:
  void assign(Device& device, const data::PairBatch& batch) {
    pairs_ = batch.pairs;
    candidates_per_pair_ = batch.candidates_per_pair;
    word_capacity_ = std::accumulate(batch.word_count.begin(), batch.word_count.end(), Index(0));
    send(device, batch.valid, valid_);
    send(device, batch.word_count, word_count_);
    send(device, batch.group, group_);
  }

  [[nodiscard]] PairTargets view() const {
    return {.valid = {valid_.data(), {pairs_, candidates_per_pair_}},
            .word_count = {word_count_.data(), static_cast<std::size_t>(pairs_)},
            .group = {group_.data(), static_cast<std::size_t>(pairs_)},
            .word_capacity = word_capacity_};
  }

 private:
  Index pairs_ = 0, candidates_per_pair_ = 1, word_capacity_ = 0;
  typename Device::template Buffer<std::uint8_t> valid_;
  typename Device::template Buffer<std::int64_t> word_count_, group_;
};

}  // namespace vlp::tasks::detail
