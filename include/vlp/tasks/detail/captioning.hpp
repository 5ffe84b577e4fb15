/// \file
/// The terms of hybrid pretraining in which a decoder writes impressions from images.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/view.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/models/pair_features.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/tasks/detail/teacher.hpp>
#include <vlp/tasks/detail/token_objective.hpp>
#include <vlp/tasks/detail/writing_on_device.hpp>
#include <vlp/tasks/hybrid_options.hpp>

namespace vlp::tasks::detail {

/// lambda_caption L_Cap + lambda_distillation L_Dis of a decoder that attends to the regions of images, over
/// a batch that comes in parts: begin() with the whole batch, then each part.
template <class Scalar, class Device>
class Captioning {
 public:
  using Decoder = models::ReportDecoder<Scalar, Device>;
  using Objective = TokenObjective<Scalar, Device>;

  /// `decoder`, and `teacher` if it is not null, must outlive this.
  Captioning(const HybridObjectiveOptions& options, Decoder& decoder, Teacher<Scalar, Device>* teacher)
      : decoder_(decoder),
        teacher_(teacher),
        trains_output_(options.shared_weights == SharedWeights::trained),
        objective_({.cross_entropy = options.lambda_caption,
                    .distillation = options.lambda_distillation,
                    .temperature = options.distillation_temperature}) {}

  void begin(Device& device, const data::PairBatch& batch) {
    objective_.begin(device, written_tokens(batch));
  }

  /// Adds the values of a part, whose images have these features.
  void forward(Device& device, const data::PairBatchPart& part,
               const models::EncoderFeatures<const Scalar>& features) {
    const auto student = write(device, part, features);
    objective_.forward(device, student, writing_.targets(), ask_teacher(device));
  }

  /// Does the same, adds to the gradients of the decoder's parameters, and returns the gradient by the
  /// regions, in device memory until the next call.
  models::EncoderFeatures<const Scalar> forward_backward(
      Device& device, const data::PairBatchPart& part,
      const models::EncoderFeatures<const Scalar>& features) {
    const auto student = write(device, part, features);
    const auto teacher = ask_teacher(device);
    const auto& [pairs, regions, width] = features.regions.extents();
    const auto d_regions = d_regions_.reshape(pairs, regions, width);
    fill(device, d_regions.data(), d_regions.size(), Scalar(0));
    auto scope = device.scratch().scope();
    const auto d_hidden = scope.template take_view<Scalar>(student.hidden.rows(), student.hidden.cols());
    objective_.forward_backward(device, student, writing_.targets(), teacher, d_hidden, trains_output_);
    decoder_.backward(device, inputs(features), d_hidden, flatten_rows(d_regions));
    return {.regions = d_regions};
  }

  /// The values of all parts since begin().
  [[nodiscard]] typename Objective::Values values(Device& device) const { return objective_.values(device); }

 private:
  [[nodiscard]] typename Decoder::Inputs inputs(const models::EncoderFeatures<const Scalar>& features) const {
    return {.tokens = writing_.tokens(), .context = flatten_rows(features.regions), .contexts = contexts_};
  }

  typename Objective::Features write(Device& device, const data::PairBatchPart& part,
                                     const models::EncoderFeatures<const Scalar>& features) {
    writing_.assign(device, part);
    contexts_.assign_equal(device, features.regions.extent(0), features.regions.extent(1));
    const auto hidden = hidden_.reshape(writing_.tokens().count(), decoder_.width());
    decoder_.forward(device, inputs(features), hidden);
    return {&decoder_, hidden};
  }

  typename Objective::Features ask_teacher(Device& device) {
    if (!objective_.distils()) return {};
    return {&teacher_->decoder(), teacher_->hidden(device, {writing_.findings(), writing_.tokens()})};
  }

  Decoder& decoder_;
  Teacher<Scalar, Device>* teacher_;
  bool trains_output_;
  Objective objective_;
  WritingOnDevice<Device> writing_;
  nn::Sequences<Device> contexts_;
  typename Device::template Buffer<Scalar> hidden_, d_regions_;
};

}  // namespace vlp::tasks::detail
