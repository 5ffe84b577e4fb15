/// \file
/// The options of `pretrain`: those of the library's parts, and what the program adds.
#pragma once

#include "cli/image_decoder.hpp"

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/layouts/all.hpp>
#include <vlp/data/missing_section.hpp>
#include <vlp/data/report_part.hpp>
#include <vlp/io/image.hpp>
#include <vlp/tasks/contrastive.hpp>
#include <vlp/tasks/hybrid_options.hpp>
#include <vlp/tasks/pair_options.hpp>
#include <vlp/train/options.hpp>
#include <vlp/train/settings.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace vlp::pretrain {

/// The objective of a run.
enum class Objective {
  multi_scale,  ///< tasks::Contrastive: the image and its whole report, and the report's perturbations
  hybrid,       ///< tasks::Summarisation, then tasks::Hybrid: findings and impression, with a decoder
  both          ///< hybrid, and in its second stage the impression against its perturbations
};

/// The stages of a hybrid run that are trained.
enum class Stage {
  automatic,  ///< the first and then the second
  first,      ///< summarisation alone
  second      ///< the second alone, from the checkpoint of another run's first stage
};

}  // namespace vlp::pretrain

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 3> enum_names<pretrain::Objective>{"multi-scale", "hybrid",
                                                                                 "both"};
template <>
inline constexpr std::array<std::string_view, 3> enum_names<pretrain::Stage>{"auto", "1", "2"};
}  // namespace vlp

namespace vlp::pretrain {

/// Everything that can be set.
struct Options {
  std::string data = "builtin";
  std::int64_t studies = 14000;
  double held_out = 0.1;
  data::BadRows bad_rows = data::BadRows::stop;
  data::ReadImages read_images = data::ReadImages::automatic;
  data::ReportPart report_part = data::ReportPart::report;
  data::layouts::Projection projection = data::layouts::Projection::frontal;
  std::string vocabulary;
  std::string weights;
  Objective objective = Objective::multi_scale;
  Stage stage = Stage::automatic;
  std::int64_t stage_1_epochs = 4;
  std::string summariser;
  data::MissingSection missing_section = data::MissingSection::leave_out;
  tasks::PairOptions pairs;
  tasks::ContrastiveObjectiveOptions contrastive;
  tasks::HybridObjectiveOptions hybrid;
  train::TrainingOptions training;
  // How it runs; these do not change the result
  int threads = 0;
  std::string image_cache;
  int image_threads = 0;
  std::int64_t max_image_pixels = io::default_max_pixels;
  std::string out;
  std::int64_t overlays = 6;
  bool resume = false;
  bool eval_only = false;

  /// Whether a run is taken up that its folder holds already.
  [[nodiscard]] bool goes_on() const { return resume || eval_only; }
  /// Whether findings and impression are learned from, in stages.
  [[nodiscard]] bool is_hybrid() const { return objective != Objective::multi_scale; }
  [[nodiscard]] tasks::ContrastiveOptions contrastive_task() const { return {pairs, contrastive}; }
  [[nodiscard]] tasks::HybridOptions hybrid_task() const { return {pairs, hybrid}; }
  /// How the first stage is trained; `training` is how the second one is, and a run without stages.
  [[nodiscard]] train::TrainingOptions stage_1_training() const {
    train::TrainingOptions first = training;
    first.epochs = stage_1_epochs;
    return first;
  }
  [[nodiscard]] data::layouts::Options layout(StopToken stop, data::ReadProgress progress) const {
    return {.projection = projection, .stop = stop, .progress = std::move(progress)};
  }
  [[nodiscard]] data::DatasetOptions dataset(data::ReadProgress progress = {}) const {
    return {.image_size = pairs.image_size,
            .held_out = held_out,
            .max_words = pairs.max_words,
            .report_part = report_part,
            .missing_section = is_hybrid() ? std::optional(missing_section) : std::nullopt,
            .bad_rows = bad_rows,
            .read_images = read_images,
            .image_cache = image_cache,
            .image_threads = image_threads,
            .max_image_pixels = max_image_pixels,
            .decode = cli::decode_image,
            .progress = std::move(progress)};
  }
};

/// Calls `visit(name, field, help)` for each option that serves hybrid runs alone.
template <class AnyOptions, class Visit>
requires std::is_same_v<std::remove_const_t<AnyOptions>, Options>
void for_each_hybrid_setting(AnyOptions& o, Visit&& visit) {
  visit(
      "stage", o.stage,
      "stages of a hybrid run to train: auto, both in turn | 1, summarisation alone | 2, from --summariser");
  visit("stage-1-epochs", o.stage_1_epochs, "passes over the training pairs in stage 1; epochs is stage 2's");
  visit("summariser", o.summariser,
        "checkpoint of a finished stage 1 (stage1/best.safetensors of a run) for --stage 2, which copies it");
  visit("missing-section", o.missing_section,
        "reports without findings or without impression: leave-out | whole-report, which stands in for what "
        "is missing | other-section, which does");
  for_each_setting(o.hybrid, visit);
}

/// Calls `visit(name, field, help)` for each option that serves multi-scale runs alone.
template <class AnyOptions, class Visit>
requires std::is_same_v<std::remove_const_t<AnyOptions>, Options>
void for_each_multi_scale_setting(AnyOptions& o, Visit&& visit) {
  visit("report-part", o.report_part,
        "part of the reports that is read: report | findings | impression | findings+impression; reports "
        "without it are left out");
  for_each_setting(o.contrastive, visit);
}

/// Calls `visit(name, field, help)` for each option that decides the result of a run; config.json holds
/// these.
template <class AnyOptions, class Visit>
requires std::is_same_v<std::remove_const_t<AnyOptions>, Options>
void for_each_setting(AnyOptions& o, Visit&& visit) {
  static const std::string sources = "builtin | " + data::layouts::usage();
  visit("data", o.data, sources.c_str());
  visit("studies", o.studies, "number of studies that the built-in generator draws");
  visit("held-out", o.held_out,
        "share of the groups (patients) held out where the data has no split of its own");
  visit("bad-rows", o.bad_rows,
        "rows of a table without an image or a report, or whose image cannot be read: stop | skip");
  visit("read-images", o.read_images,
        "when image files are decoded: first, all of them before training | ahead, shortly before a batch "
        "needs "
        "them | automatic, which is ahead for more than 20,000");
  visit("projection", o.projection, "images of a study that are taken: frontal | lateral | both");
  visit("vocabulary", o.vocabulary,
        "word pieces, one a line (vocab.txt); built from the training reports when not given");
  visit("weights", o.weights,
        "safetensors file to start from, such as another run's best.safetensors: tensors that fit are read, "
        "the others start as they would without");
  visit("objective", o.objective,
        "multi-scale: image and whole report | hybrid: findings and impression, with a decoder, in two "
        "stages | both: hybrid, and impressions against their perturbations");
  for_each_multi_scale_setting(o, visit);
  for_each_hybrid_setting(o, visit);
  for_each_setting(o.pairs, visit);
  for_each_setting(o.training, visit);
}

/// Settings that a run may go on with other values of: paths, since files may move and what is in them
/// decides; when images are read; and the micro-batch, which changes rounding alone.
inline constexpr std::array<const char*, 6> free_settings{"data",    "read-images", "vocabulary",
                                                          "weights", "summariser",  "micro-batch"};

namespace detail {

/// Throws std::invalid_argument for stages or weights of terms that leave a hybrid run nothing to learn or no
/// teacher to learn from.
inline void validate_stages(const Options& o) {
  const tasks::HybridObjectiveOptions& h = o.hybrid;
  if (o.objective == Objective::both)
    require(h.lambda_perturbation > 0,
            "lambda-perturbation must be above 0 with objective both, but is 0; objective hybrid is without");
  else
    require(h.lambda_perturbation == 0, "lambda-perturbation must be 0 with objective hybrid, but is ",
            h.lambda_perturbation, "; --objective both has it at work");
  if (o.stage != Stage::second) {
    require(o.summariser.empty(), "summariser serves stage 2 alone, but stage is ", to_text(o.stage),
            ", whose run trains its own");
    require(h.lambda_summary > 0,
            "lambda-summary must be above 0 in stage 1, which has nothing else to learn; --stage 2 "
            "--lambda-distillation 0 trains without stage 1");
  } else {
    require(!o.summariser.empty() || h.lambda_distillation == 0,
            "stage 2 needs --summariser, the stage1/best.safetensors of another run, or "
            "--lambda-distillation 0, which is without a teacher");
    require(!o.summariser.empty() || h.shared_weights == tasks::SharedWeights::trained,
            "shared-weights frozen needs --summariser, whose weights it keeps");
  }
  require(o.stage == Stage::first || h.lambda_global > 0 || h.lambda_token > 0 || h.lambda_caption > 0 ||
              h.lambda_distillation > 0 || h.lambda_perturbation > 0,
          "lambda-global and the other weights of stage 2 are all 0, which leaves it nothing to learn");
}

}  // namespace detail

/// Throws std::invalid_argument, naming the setting and its value, for one that is out of range.
inline void validate(const Options& o) {
  static_cast<void>(train::settings_of(o));  // each can be written down
  require(o.data == "builtin" || data::layouts::find(o.data) != nullptr, "data must be builtin or ",
          data::layouts::usage(" or "), ", but is '", o.data, "'");
  require(!o.data.ends_with(':'), "data '", o.data, "' names no file or folder");
  require_range<std::int64_t>("studies", o.studies, 4, 1'000'000'000);
  require(o.held_out > 0 && o.held_out < 1, "held-out must be between 0 and 1, but is ", o.held_out);
  validate(o.pairs);
  validate(o.contrastive);
  validate(o.hybrid);
  validate(o.training);
  require_range<std::int64_t>("stage-1-epochs", o.stage_1_epochs, 1, 1'000'000'000);
  if (o.is_hybrid()) detail::validate_stages(o);
  require_range<std::int64_t>("overlays", o.overlays, 0, 1000);
  require_range("threads", o.threads, 0, 1024);
  require_range("image-threads", o.image_threads, 0, 1024);
  require_range<std::int64_t>("max-image-pixels", o.max_image_pixels, 1,
                              io::max_image_edge * io::max_image_edge);
}

}  // namespace vlp::pretrain
