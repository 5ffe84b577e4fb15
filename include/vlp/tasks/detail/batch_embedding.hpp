/// \file
/// The passes of a model over a batch of pairs, micro-batch by micro-batch.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/models/dual_encoder.hpp>
#include <vlp/models/pair_features.hpp>
#include <vlp/tasks/detail/micro_batches.hpp>
#include <vlp/tasks/detail/pairs_on_device.hpp>
#include <vlp/tasks/pair_targets.hpp>

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

  /// Embeds a batch. Calls `visit(part, inputs)` after each micro-batch, while the model has its activations
  /// and encoder features; inputs are those of the model.
  template <class Visit>
  void forward(Device& device, Model& model, const data::PairBatch& batch, Visit&& visit) {
    extents_ = model.feature_extents(batch.pairs, batch.texts_per_pair, batch.max_words);
    features_.resize(extents_);
    targets_.assign(device, batch);
    const MicroBatches parts(batch.pairs, micro_batch_);
    for (Index m = 0; m < parts.count(); ++m) {
      const data::PairBatchPart part = embed(device, model, batch, m);
      visit(part, inputs_.view());
    }
  }
  void forward(Device& device, Model& model, const data::PairBatch& batch) {
    forward(device, model, batch, [](const data::PairBatchPart&, const Inputs&) {});
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
  /// `d_encoder(part, inputs)` is called before each micro-batch goes back, and returns the gradients by the
  /// model's encoder features.
  template <class EncoderGradients>
  void backward(Device& device, Model& model, const data::PairBatch& batch, EncoderGradients&& d_encoder) {
    const MicroBatches parts(batch.pairs, micro_batch_);
    for (Index m = parts.count(); m-- > 0;) {
      const data::PairBatchPart part =
          m == embedded_ ? part_of(batch, parts.first(m), parts.pairs(m)) : embed(device, model, batch, m);
      const Inputs in = inputs_.view();
      model.backward(device, in, gradients_.view().slice(parts.first(m), parts.pairs(m)),
                     d_encoder(part, in));
    }
  }
  void backward(Device& device, Model& model, const data::PairBatch& batch) {
    backward(device, model, batch, [](const data::PairBatchPart&, const Inputs&) {
      return models::EncoderFeatures<const Scalar>();
    });
  }

 private:
  using Inputs = typename Model::Inputs;

  data::PairBatchPart embed(Device& device, Model& model, const data::PairBatch& batch, Index m) {
    const MicroBatches parts(batch.pairs, micro_batch_);
    const data::PairBatchPart part = part_of(batch, parts.first(m), parts.pairs(m));
    inputs_.assign(device, part, image_size_);
    model.forward(device, inputs_.view(), features_.view().slice(parts.first(m), parts.pairs(m)));
    embedded_ = m;
    return part;
  }

  Index image_size_, micro_batch_;
  models::PairFeatureExtents extents_;  // of the whole batch
  PairInputsOnDevice<Scalar, Device> inputs_;
  PairTargetsOnDevice<Device> targets_;
  models::PairFeatureBuffers<Scalar, Device> features_, gradients_;
  Index embedded_ = -1;  // the micro-batch that the model was given last
};

}  // namespace vlp::tasks::detail
