/// \file
/// Scores of written texts against references: BLEU, ROUGE-L and exact match.
///
/// Words are what white space divides, compared byte by byte. Texts of reports are normalised first
/// (text::normalise), so that case and full stops do not count. Scores are in [0, 1]; that of no text is NaN.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::eval {

/// Texts that would each have been right for one candidate.
using References = std::vector<std::string>;

/// The longest sequence of words that BLEU counts.
inline constexpr std::size_t bleu_order = 4;

/// The result of bleu(), with the counts that it is made of; [n - 1] is of sequences of n words.
struct Bleu {
  std::array<double, bleu_order> score{};   ///< BLEU-1 to BLEU-4
  std::array<Index, bleu_order> matches{};  ///< sequences of the candidates that a reference has, clipped
  std::array<Index, bleu_order> total{};    ///< sequences of the candidates
  Index candidate_words = 0;
  Index reference_words = 0;  ///< of the references closest in length, the shorter one of two
  double brevity_penalty = 0;
};

/// The result of rouge_l(): means over the candidates, each against the reference of the highest F.
struct RougeL {
  double precision = 0, recall = 0, f = 0;
};

namespace detail {

/// Numbers the words of texts, equal words alike.
class WordNumbers {
 public:
  /// The words of a text, which must outlive this object.
  [[nodiscard]] std::vector<std::int32_t> operator()(std::string_view text) {
    constexpr std::string_view space = " \t\n\v\f\r";
    std::vector<std::int32_t> words;
    for (std::size_t at = text.find_first_not_of(space); at < text.size();) {
      const std::size_t end = std::min(text.find_first_of(space, at), text.size());
      const auto next = static_cast<std::int32_t>(numbers_.size());
      words.push_back(numbers_.try_emplace(text.substr(at, end - at), next).first->second);
      at = text.find_first_not_of(space, end);
    }
    return words;
  }

 private:
  std::unordered_map<std::string_view, std::int32_t> numbers_;
};

using NGram = std::array<std::int32_t, bleu_order>;

/// How often a text has each sequence of n words; the rest of a sequence's numbers are -1.
inline std::map<NGram, Index> count_n_grams(std::span<const std::int32_t> words, std::size_t n) {
  std::map<NGram, Index> counts;
  for (std::size_t first = 0; first + n <= words.size(); ++first) {
    NGram sequence;
    sequence.fill(-1);
    std::copy_n(words.begin() + static_cast<std::ptrdiff_t>(first), n, sequence.begin());
    ++counts[sequence];
  }
  return counts;
}

/// The reference length that is closest to that of the candidate; the shorter one of two.
inline std::size_t closest_length(std::size_t candidate,
                                  const std::vector<std::vector<std::int32_t>>& references) {
  const auto distance = [&](std::size_t length) {
    return std::pair(length > candidate ? length - candidate : candidate - length, length);
  };
  std::size_t best = references.front().size();
  for (const auto& reference : references)
    if (distance(reference.size()) < distance(best)) best = reference.size();
  return best;
}

/// Adds the counts of one candidate.
inline void add_counts(const std::string& candidate, const References& references, Bleu& out) {
  WordNumbers number;
  const std::vector<std::int32_t> words = number(candidate);
  std::vector<std::vector<std::int32_t>> reference_words;
  for (const std::string& reference : references) reference_words.push_back(number(reference));
  out.candidate_words += static_cast<Index>(words.size());
  out.reference_words += static_cast<Index>(closest_length(words.size(), reference_words));
  for (std::size_t n = 1; n <= bleu_order; ++n) {
    std::map<NGram, Index> most;  // of any one reference
    for (const auto& reference : reference_words)
      for (const auto& [sequence, count] : count_n_grams(reference, n))
        most[sequence] = std::max(most[sequence], count);
    for (const auto& [sequence, count] : count_n_grams(words, n)) {
      out.total[n - 1] += count;
      const auto found = most.find(sequence);
      if (found != most.end()) out.matches[n - 1] += std::min(count, found->second);
    }
  }
}

/// Length of the longest common subsequence, in time of the product of both lengths and memory of one.
inline std::size_t longest_common_subsequence(std::span<const std::int32_t> a,
                                              std::span<const std::int32_t> b) {
  std::vector<std::size_t> lengths(b.size() + 1);  // of the words of a so far and the first j of b
  for (const std::int32_t word : a) {
    std::size_t diagonal = 0;  // lengths[j] before this word
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = lengths[j + 1];
      lengths[j + 1] = word == b[j] ? diagonal + 1 : std::max(above, lengths[j]);
      diagonal = above;
    }
  }
  return lengths.back();
}

inline RougeL rouge_l_of(std::span<const std::int32_t> candidate, std::span<const std::int32_t> reference,
                         double beta) {
  const auto common = static_cast<double>(longest_common_subsequence(candidate, reference));
  if (common == 0) return {};
  const double precision = common / static_cast<double>(candidate.size());
  const double recall = common / static_cast<double>(reference.size());
  const double weight = beta * beta;
  return {precision, recall, (1 + weight) * precision * recall / (recall + weight * precision)};
}

inline void check_references(const char* function, std::span<const std::string> candidates,
                             std::span<const References> references) {
  require(candidates.size() == references.size(), function, ": there are ", candidates.size(),
          " candidates but references of ", references.size());
  for (std::size_t i = 0; i < references.size(); ++i)
    require(!references[i].empty(), function, ": candidate ", i, " has no reference");
}

inline double mean_of(double sum, std::size_t count) {
  return count > 0 ? sum / static_cast<double>(count) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace detail

/// Corpus BLEU (Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL 2002)
/// of candidates [N] against one or more references for each [N]. The precision of n is the share of all the
/// candidates' sequences of n words that a reference of theirs has, each counted at most as often as the one
/// reference that has it most often. BLEU-n is the geometric mean of the precisions of 1 to n times the
/// brevity penalty exp(1 - r / c) where the candidates' c words are fewer than the r of the references
/// closest in length. Nothing is smoothed: without a match of n words (or a candidate of as many) BLEU-n is
/// 0. Throws std::invalid_argument for sizes that differ and for a candidate without reference.
[[nodiscard]] inline Bleu bleu(std::span<const std::string> candidates,
                               std::span<const References> references) {
  detail::check_references("bleu", candidates, references);
  Bleu out;
  for (std::size_t i = 0; i < candidates.size(); ++i) detail::add_counts(candidates[i], references[i], out);
  if (candidates.empty()) {
    out.brevity_penalty = std::numeric_limits<double>::quiet_NaN();
    out.score.fill(out.brevity_penalty);
    return out;
  }
  const auto r = static_cast<double>(out.reference_words), c = static_cast<double>(out.candidate_words);
  out.brevity_penalty = c >= r ? 1 : std::exp(1 - r / c);  // exp(-infinity) = 0 for no words at all
  double log_sum = 0;
  for (std::size_t n = 1; n <= bleu_order; ++n) {
    if (out.matches[n - 1] == 0) break;  // the others are 0, too
    log_sum += std::log(static_cast<double>(out.matches[n - 1]) / static_cast<double>(out.total[n - 1]));
    out.score[n - 1] = out.brevity_penalty * std::exp(log_sum / static_cast<double>(n));
  }
  return out;
}

/// ROUGE-L at the level of sentences (Lin, "ROUGE: a package for automatic evaluation of summaries", 2004) of
/// candidates [N] against one or more references for each [N]: the longest common subsequence of words, as a
/// share of the candidate (precision P) and of the reference (recall R), and
/// F = (1 + beta^2) R P / (R + beta^2 P). The default, beta = 1, is F1, the harmonic mean; a larger beta
/// gives recall more weight. A candidate counts by its reference of the highest F; texts without a common
/// word have 0. Throws std::invalid_argument for sizes that differ, a candidate without reference, and a beta
/// that is not a positive number.
[[nodiscard]] inline RougeL rouge_l(std::span<const std::string> candidates,
                                    std::span<const References> references, double beta = 1) {
  detail::check_references("rouge_l", candidates, references);
  require(std::isfinite(beta) && beta > 0, "rouge_l: beta must be a positive number, but is ", beta);
  RougeL sum;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    detail::WordNumbers number;
    const std::vector<std::int32_t> words = number(candidates[i]);
    RougeL best;
    for (const std::string& reference : references[i]) {
      const RougeL one = detail::rouge_l_of(words, number(reference), beta);
      if (one.f > best.f) best = one;
    }
    sum = {sum.precision + best.precision, sum.recall + best.recall, sum.f + best.f};
  }
  const std::size_t count = candidates.size();
  return {detail::mean_of(sum.precision, count), detail::mean_of(sum.recall, count),
          detail::mean_of(sum.f, count)};
}

/// The share of candidates [N] whose words are those of one of their references [N]. Throws
/// std::invalid_argument for sizes that differ and for a candidate without reference.
[[nodiscard]] inline double exact_match(std::span<const std::string> candidates,
                                        std::span<const References> references) {
  detail::check_references("exact_match", candidates, references);
  std::size_t matches = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    detail::WordNumbers number;
    const std::vector<std::int32_t> words = number(candidates[i]);
    matches += std::ranges::any_of(references[i],
                                   [&](const std::string& reference) { return number(reference) == words; });
  }
  return detail::mean_of(static_cast<double>(matches), candidates.size());
}

}  // namespace vlp::eval
