/// \file
/// Batches of pairs in the memory of a device.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/nn/word_slots.hpp>
#include <vlp/tasks/contrastive_objective.hpp>

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace vlp::tasks::detail {

/// A data::PairBatch in device memory: what a DualEncoder and the losses read. Memory is reused from batch to
/// batch.
template <class Scalar, class Device>
class PairsOnDevice {
 public:
  /// Copies a batch of images of image_size x image_size pixels to the device.
  void assign(Device& device, const data::PairBatch& batch, Index image_size) {
    pairs_ = batch.pairs;
    texts_per_pair_ = batch.texts_per_pair;
    words_per_text_ = batch.max_words;
    image_size_ = image_size;
    word_capacity_ = std::accumulate(batch.word_count.begin(), batch.word_count.end(), Index(0));
    host_images_.assign(batch.images.begin(), batch.images.end());
    send(device, host_images_, images_);
    texts_.assign(device, batch.pieces, batch.offsets);
    word_slots_.assign(device, batch.word_slot);
    send(device, batch.valid, valid_);
    send(device, batch.word_count, word_count_);
    send(device, batch.group, group_);
  }

  [[nodiscard]] models::PairInputs<Scalar, Device> inputs() const {
    return {.images = {images_.data(), {pairs_, image_size_, image_size_, 1}},
            .texts = texts_,
            .word_slots = word_slots_,
            .texts_per_pair = texts_per_pair_,
            .words_per_text = words_per_text_};
  }
  [[nodiscard]] PairTargets targets() const {
    return {.valid = {valid_.data(), {pairs_, texts_per_pair_}},
            .word_count = {word_count_.data(), static_cast<std::size_t>(pairs_)},
            .group = {group_.data(), static_cast<std::size_t>(pairs_)},
            .word_capacity = word_capacity_};
  }

 private:
  template <class T>
  using Buffer = typename Device::template Buffer<T>;

  template <class T>
  static void send(Device& device, const std::vector<T>& host, Buffer<T>& memory) {
    upload(device, std::span<const T>(host), memory.resize(static_cast<Index>(host.size())));
  }

  Index pairs_ = 0, texts_per_pair_ = 1, words_per_text_ = 0, image_size_ = 0, word_capacity_ = 0;
  std::vector<Scalar> host_images_;
  Buffer<Scalar> images_;
  nn::Tokens<Device> texts_;
  nn::WordSlots<Device> word_slots_;
  Buffer<std::uint8_t> valid_;
  Buffer<std::int64_t> word_count_, group_;
};

}  // namespace vlp::tasks::detail
