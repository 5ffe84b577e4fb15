/// \file
/// Options of hybrid pretraining, common to its two stages.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/tasks/pair_options.hpp>
#include <vlp/text/vocabulary.hpp>

#include <array>
#include <cmath>
#include <string_view>
#include <type_traits>
#include <utility>

namespace vlp::tasks {

/// The loss that aligns regions with the words of the findings.
enum class TokenLoss {
  token_alignment,  ///< TokenAlignment: each word against the other words of its report
  local_alignment   ///< LocalAlignment: each report's words against the other images of the batch
};

/// Treatment, in the second stage, of the decoder's weights that its branches share.
enum class SharedWeights {
  frozen,  ///< they stay as the first stage left them; captioning learns its attention to the image
  trained  ///< they go on learning; the teacher keeps them as the first stage left them
};

/// Tells whether a parameter of this name is one of the decoder's that its branches share.
[[nodiscard]] inline bool is_shared_by_branches(std::string_view name) {
  return name.starts_with("decoder.") && name.find(".cross_attention.") == name.npos;
}

/// Options of Summarisation and Hybrid beside those of the pairs: the decoder and the objective
///
///   L = lambda_global L_CG + lambda_token L_CL + lambda_summary L_Sum + lambda_caption L_Cap
///       + lambda_distillation L_Dis + lambda_perturbation L_pert
///
/// (HybridMED, arXiv 2410.00448, reconstructed from the abstract; the last term is that of arXiv 2506.01902,
/// for perturbed impressions). A weight of 0 skips its term's work.
struct HybridObjectiveOptions {
  double lambda_global = 1;             ///< of InfoNCE between images and impressions
  double lambda_token = 1;              ///< of the alignment of regions with the words of the findings
  double lambda_summary = 1;            ///< of the impression's cross-entropy from the findings: stage 1
  double lambda_caption = 1;            ///< of the impression's cross-entropy from the image: stage 2
  double lambda_distillation = 1;       ///< of distillation from summarisation to captioning: stage 2
  double lambda_perturbation = 0;       ///< of the discrimination of impressions from their perturbations
  double temperature = 0.07;            ///< at which the learned scales of the contrasts start, above 0
  double token_temperature = 0.1;       ///< of TokenAlignment, both of attention and of contrast, above 0
  double distillation_temperature = 2;  ///< above 0
  TokenLoss token_loss = TokenLoss::token_alignment;
  SharedWeights shared_weights = SharedWeights::trained;
  Index decoder_blocks = 2;
  bool tied_output = true;  ///< whether the output matrix is the decoder's embedding of the words
};

/// Calls `visit(name, field, help)` for each option.
template <class Options, class Visit>
requires std::is_same_v<std::remove_const_t<Options>, HybridObjectiveOptions>
void for_each_setting(Options& o, Visit&& visit) {
  visit("lambda-global", o.lambda_global, "weight of the contrast of images and impressions; 0 skips it");
  visit("lambda-token", o.lambda_token,
        "weight of the alignment of regions with the words of the findings; 0 skips it");
  visit("lambda-summary", o.lambda_summary, "weight of writing the impression from the findings (stage 1)");
  visit("lambda-caption", o.lambda_caption,
        "weight of writing the impression from the image (stage 2); 0 skips it");
  visit("lambda-distillation", o.lambda_distillation,
        "weight of distillation from the summariser to the captioner (stage 2); 0 skips it");
  visit("lambda-perturbation", o.lambda_perturbation,
        "weight of the loss that tells impressions from their perturbations; 0 skips it");
  visit("temperature", o.temperature, "temperature at which the learned scales of the contrasts start");
  visit("token-temperature", o.token_temperature,
        "temperature of token-alignment, of its attention and of its contrast; local-alignment has its own");
  visit("distillation-temperature", o.distillation_temperature,
        "divides the logits of teacher and captioner in the distillation");
  visit("token-loss", o.token_loss,
        "loss that aligns regions with words of the findings: token-alignment | local-alignment");
  visit("shared-weights", o.shared_weights,
        "what becomes, in stage 2, of the decoder's weights that summarisation and captioning share: frozen "
        "| trained");
  visit("decoder-blocks", o.decoder_blocks, "transformer blocks of the decoder");
  visit("tied-output", o.tied_output, "make the decoder's output matrix its embedding of the words");
}

/// Throws std::invalid_argument, naming the setting and its value, for one that is out of range.
inline void validate(const HybridObjectiveOptions& o) {
  for (const auto& [name, value] : {std::pair{"lambda-global", o.lambda_global},
                                    {"lambda-token", o.lambda_token},
                                    {"lambda-summary", o.lambda_summary},
                                    {"lambda-caption", o.lambda_caption},
                                    {"lambda-distillation", o.lambda_distillation},
                                    {"lambda-perturbation", o.lambda_perturbation}})
    require(std::isfinite(value) && value >= 0, name, " must be 0 or a positive number, but is ", value);
  for (const auto& [name, value] : {std::pair{"temperature", o.temperature},
                                    {"token-temperature", o.token_temperature},
                                    {"distillation-temperature", o.distillation_temperature}})
    require(std::isfinite(value) && value > 0, name, " must be a positive number, but is ", value);
  require_range<Index>("decoder-blocks", o.decoder_blocks, 1, 100);
}

/// Options of Summarisation and Hybrid.
struct HybridOptions {
  PairOptions pairs;
  HybridObjectiveOptions objective;
};

/// Calls `visit(name, field, help)` for each option.
template <class Options, class Visit>
requires std::is_same_v<std::remove_const_t<Options>, HybridOptions>
void for_each_setting(Options& o, Visit&& visit) {
  for_each_setting(o.pairs, visit);
  for_each_setting(o.objective, visit);
}

/// Throws std::invalid_argument, naming the setting and its value, for one that is out of range.
inline void validate(const HybridOptions& o) {
  validate(o.pairs);
  validate(o.objective);
}

/// A vocabulary of word pieces built from the training impressions and findings, as far as `options` keeps
/// them. Throws Stopped where it was asked to stop.
[[nodiscard]] inline text::Vocabulary build_vocabulary(const data::Dataset& dataset,
                                                       const HybridOptions& options, StopToken stop = {}) {
  return build_vocabulary(dataset, options.pairs, stop, true);
}

}  // namespace vlp::tasks

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 2> enum_names<tasks::TokenLoss>{"token-alignment",
                                                                              "local-alignment"};
template <>
inline constexpr std::array<std::string_view, 2> enum_names<tasks::SharedWeights>{"frozen", "trained"};
}  // namespace vlp
