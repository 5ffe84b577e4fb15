/// \file
/// The passes of a model over a batch of pairs, micro-batch by micro-batch.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/models/pair_features.hpp>
#include <vlp/tasks/detail/pairs_on_device.hpp>
#include <vlp/tasks/pair_targets.hpp>

#include <algorithm>

namespace vlp::tasks::detail {

/// The features of a whole batch of pairs and the gradients by them, where a model works on a micro-batch at
/// a time (gradient caching: Gao et al., "Scaling deep contrastive learning batch size under memory limited
/// setup", RepL4NLP 2021). The objective sees all features at once, so results are those of the whole batch
/// up to rounding; pixels, word pieces and activations take the memory of one micro-batch, features and their
/// gradients that of all pairs. Of m micro-batches, m - 1 are embedded a second time on the way back.
template <class Scalar, class Device>
class BatchEmbedding {
 public:
  using Model = models::DualEncoder<Scalar, Device>;

  /// Images have image_size x image_size pixels; `micro_batch` pairs are embedded at a time, or all where it
  /// is 0.
  BatchEmbedding(Index image_size, Index micro_batch) : image_size_(image_size), micro_batch_(micro_batch) {}

  /// Embeds a batch.
  void forward(Device& device, Model& model, const data::PairBatch& batch) {
    extents_ = model.feature_extents(batch.pairs, batch.texts_per_pair, batch.max_words);
    features_.resize(extents_);
    targets_.assign(device, batch);
    for (Index m = 0; m < micro_batches(); ++m) embed(device, model, batch, m);
  }

  /// The features of the last forward, and what the losses read beside them, in device memory until the next.
  [[nodiscard]] models::PairFeatures<const Scalar> features() const { return features_.view(); }
  [[nodiscard]] PairTargets targets() const { return targets_.view(); }

  /// Room for the gradients by those features, uninitialised: backward reads them there.
  [[nodiscard]] const models::PairFeatures<Scalar>& feature_gradients() {
    return gradients_.resize(extents_);
  }

  /// Adds to the gradients of the model's parameters. `model` and `batch` are those of the last forward,
  /// whose last micro-batch still has its activations: it goes first, and the others are embedded again.
  void backward(Device& device, Model& model, const data::PairBatch& batch) {
    for (Index m = micro_batches(); m-- > 0;) {
      if (m != embedded_) embed(device, model, batch, m);
      model.backward(device, inputs_.view(), gradients_.view().slice(first(m), count(m)));
    }
  }

 private:
  [[nodiscard]] Index size() const {
    return micro_batch_ == 0 ? std::max(extents_.pairs, Index(1)) : micro_batch_;
  }
  [[nodiscard]] Index micro_batches() const {
    return extents_.pairs / size() + (extents_.pairs % size() == 0 ? 0 : 1);
  }
  [[nodiscard]] Index first(Index m) const { return m * size(); }
  [[nodiscard]] Index count(Index m) const { return std::min(size(), extents_.pairs - first(m)); }

  void embed(Device& device, Model& model, const data::PairBatch& batch, Index m) {
    inputs_.assign(device, part_of(batch, first(m), count(m)), image_size_);
    model.forward(device, inputs_.view(), features_.view().slice(first(m), count(m)));
    embedded_ = m;
  }

  Index image_size_, micro_batch_;
  models::PairFeatureExtents extents_;  // of the whole batch
  PairInputsOnDevice<Scalar, Device> inputs_;
  PairTargetsOnDevice<Device> targets_;
  models::PairFeatureBuffers<Scalar, Device> features_, gradients_;
  Index embedded_ = -1;  // the micro-batch that the model was given last
};

}  // namespace vlp::tasks::detail
