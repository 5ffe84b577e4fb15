/// \file
/// Search for the text that a token model finds most probable: greedy and by beam.
#pragma once

#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/view.hpp>
#include <vlp/models/detail/token_logits.hpp>
#include <vlp/models/token_model.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace vlp::models {

/// Options of search().
struct SearchOptions {
  Index beam = 1;  ///< texts of a context that are followed; 1: the most probable token each time (greedy)
  Index longest = 64;  ///< tokens of the longest text, without those that begin and end it
  /// The a of the length penalty; 0 leaves the plain log-probability, which favours short texts, and texts
  /// grow longer with it. Usual values are 0.6 to 1.
  double length_penalty = 0;
  Index no_repeat = 0;                   ///< no n tokens in a row stand twice in a text; 0 allows them
  std::int32_t begin = 0;                ///< token that begins every text
  std::int32_t end = 0;                  ///< token that ends a text
  std::vector<std::int32_t> never = {};  ///< tokens that no text has
};

/// Throws std::invalid_argument, naming the option and its value, for one that is out of range.
inline void validate(const SearchOptions& o) {
  require_range<Index>("beam", o.beam, 1, 1'000'000);
  require_range<Index>("longest", o.longest, 1, 1'000'000);
  require(std::isfinite(o.length_penalty) && o.length_penalty >= 0,
          "length-penalty must be 0 or a positive number, but is ", o.length_penalty);
  require_range<Index>("no-repeat", o.no_repeat, 0, 1'000'000);
  require(std::ranges::find(o.never, o.end) == o.never.end(), "search: the token ", o.end,
          ", which ends a text, is among those that no text has");
}

/// A text that a search has found.
struct FoundText {
  std::vector<std::int32_t> tokens;  ///< without those that begin and end it
  double log_probability = 0;        ///< the sum of those of its tokens, the end among them
  double score = 0;                  ///< log_probability / length penalty, by which texts are compared
  /// Whether it had the longest length and an allowed token was more probable than the end, or it ended where
  /// the options allowed no other token and the model gives the end no probability.
  bool is_cut = false;
  bool operator==(const FoundText&) const = default;
};

namespace detail {

/// The search about one context.
class ContextSearch {
 public:
  /// A text that is not at its end.
  struct Live {
    std::vector<std::int32_t> tokens;
    double log_probability = 0;
    std::size_t parent = 0;  // which of the live texts of the step before it continues
    bool is_greedy = true;   // whether each of its tokens was the most probable one
  };

  explicit ContextSearch(const SearchOptions& options) : options_(options), live_(1) {}

  [[nodiscard]] const std::vector<Live>& live() const { return live_; }
  [[nodiscard]] FoundText take() { return std::move(*best_); }

  /// Continues the live texts by a token each, of which `log_probabilities(i)` are those of live text i.
  template <class LogProbabilities>
  void advance(const std::vector<char>& is_never, LogProbabilities&& log_probabilities) {
    candidates_.clear();
    for (std::size_t i = 0; i < live_.size(); ++i) add_candidates(i, is_never, log_probabilities(i));
    std::ranges::sort(candidates_, is_before);
    std::vector<Live> next;
    Index going_on = 0;
    for (std::size_t rank = 0; rank < candidates_.size(); ++rank) {
      const Candidate& c = candidates_[rank];
      const bool is_first = rank < static_cast<std::size_t>(options_.beam);
      if (c.token == options_.end) {
        if (is_first || c.is_greedy) end(c);
        if (is_first) ++ended_;
      } else if (going_on < options_.beam || c.is_greedy) {
        next.push_back(continued(c));
        ++going_on;
      }
    }
    if (ended_ >= options_.beam) std::erase_if(next, [](const Live& text) { return !text.is_greedy; });
    live_ = std::move(next);
    if (best_ && std::ranges::none_of(live_, [&](const Live& text) { return may_win(text); })) live_.clear();
  }

 private:
  struct Candidate {
    double log_probability;  // of the whole text
    std::int32_t token;
    std::size_t parent;
    bool is_greedy = false;
    bool is_cut = false;
  };

  /// A strict order: more probable texts first, then smaller tokens, then those whose parent came first.
  static bool is_before(const Candidate& a, const Candidate& b) {
    if (a.log_probability != b.log_probability) return a.log_probability > b.log_probability;
    return a.token != b.token ? a.token < b.token : a.parent < b.parent;
  }

  /// Adds the end of live text i and its most probable continuations, as many as may be followed.
  void add_candidates(std::size_t i, const std::vector<char>& is_never, std::span<const double> added) {
    const Live& text = live_[i];
    const auto candidate = [&](std::size_t token) {
      return Candidate{text.log_probability + added[token], static_cast<std::int32_t>(token), i};
    };
    forbidden_ = is_never;
    forbid_repeats(text.tokens);
    going_on_.clear();  // a heap, with the least of those that are kept in front
    for (std::size_t token = 0; token < added.size(); ++token) {
      if (forbidden_[token] != 0 || static_cast<std::int32_t>(token) == options_.end ||
          !std::isfinite(added[token]))
        continue;
      const Candidate c = candidate(token);
      if (static_cast<Index>(going_on_.size()) == options_.beam) {
        if (!is_before(c, going_on_.front())) continue;
        std::ranges::pop_heap(going_on_, is_before);
        going_on_.pop_back();
      }
      going_on_.push_back(c);
      std::ranges::push_heap(going_on_, is_before);
    }
    std::ranges::sort_heap(going_on_, is_before);
    Candidate end = candidate(static_cast<std::size_t>(options_.end));
    const bool ends_first = going_on_.empty() || is_before(end, going_on_.front());
    const bool must_end = going_on_.empty() || static_cast<Index>(text.tokens.size()) == options_.longest;
    end.is_cut = must_end && (!ends_first || !std::isfinite(end.log_probability));
    end.is_greedy = text.is_greedy && (ends_first || must_end);
    candidates_.push_back(end);
    if (must_end) return;
    going_on_.front().is_greedy = text.is_greedy && !ends_first;
    candidates_.insert(candidates_.end(), going_on_.begin(), going_on_.end());
  }

  /// Forbids each token that would end a second run of the same no_repeat tokens.
  void forbid_repeats(const std::vector<std::int32_t>& tokens) {
    const auto n = static_cast<std::size_t>(options_.no_repeat);
    if (n == 0 || tokens.size() < n) return;
    const auto tail = tokens.end() - static_cast<std::ptrdiff_t>(n - 1);
    for (auto begin = tokens.begin(); begin != tail; ++begin)
      if (std::equal(tail, tokens.end(), begin))
        forbidden_[static_cast<std::size_t>(*(begin + static_cast<std::ptrdiff_t>(n - 1)))] = 1;
  }

  [[nodiscard]] Live continued(const Candidate& c) const {
    Live text{live_[c.parent].tokens, c.log_probability, c.parent, c.is_greedy};
    text.tokens.push_back(c.token);
    return text;
  }

  /// Takes a text that ends if it is the best so far: of equal scores the one whose tokens come first.
  void end(const Candidate& c) {
    FoundText text{live_[c.parent].tokens, c.log_probability, 0, c.is_cut};
    text.score = text.log_probability / penalty(static_cast<Index>(text.tokens.size()) + 1);
    if (!best_ || text.score > best_->score || (text.score == best_->score && text.tokens < best_->tokens))
      best_ = std::move(text);
  }

  /// ((5 + n) / 6)^a of a text of n tokens, its end among them.
  [[nodiscard]] double penalty(Index n) const {
    return std::pow((5 + static_cast<double>(n)) / 6, options_.length_penalty);
  }

  /// Whether a continuation could be as good as the best: tokens make a text no more probable, and the
  /// longest has the largest penalty.
  [[nodiscard]] bool may_win(const Live& text) const {
    return text.log_probability / penalty(options_.longest + 1) >= best_->score;
  }

  const SearchOptions& options_;
  std::vector<Live> live_;
  std::optional<FoundText> best_;
  Index ended_ = 0;  // texts that ended among the first of their step
  std::vector<Candidate> candidates_, going_on_;
  std::vector<char> forbidden_;
};

/// The tokens that no text has, as a flag for each of the vocabulary.
[[nodiscard]] inline std::vector<char> never_flags(const SearchOptions& options, std::size_t vocabulary) {
  const auto check = [&](std::int32_t token) {
    require(token >= 0 && static_cast<std::size_t>(token) < vocabulary, "search: there is no token ", token,
            " among ", vocabulary);
  };
  std::vector<char> flags(vocabulary, 0);
  check(options.end);
  for (const std::int32_t token : options.never) {
    check(token);
    flags[static_cast<std::size_t>(token)] = 1;
  }
  return flags;
}

}  // namespace detail

/// Finds a text about each of the model's `contexts`, by beam search (Graves, "Sequence transduction with
/// recurrent neural networks", 2012; Sutskever et al., "Sequence to sequence learning with neural networks",
/// 2014). At each step the texts of a context are continued by every token; of these, the `beam` most
/// probable that do not end go on, and texts that end among the first `beam` have come to their end. The
/// search ends when `beam` texts have ended or no text can become better than the best of them. A text of the
/// longest length must end.
///
/// The result is the text with the highest score, log P(text) / ((5 + n) / 6)^a for the n tokens written, the
/// end among them (Wu et al., "Google's neural machine translation system", 2016, equation 14, without
/// coverage). Probabilities are the model's own, over the whole vocabulary, whatever tokens the options
/// forbid. The greedy text is always followed to its end beside the beam, so the score is never below that of
/// a search with beam 1. Of equals, the smaller token comes first. Contexts do not influence one another:
/// each is searched as it would be alone, as far as the model's logits do not depend on what else it
/// computes.
///
/// The model must not have been asked for a token yet. Logits come to the host once a step, where all sums
/// are in double. Throws std::invalid_argument for options out of range, tokens outside of the vocabulary or
/// a longest text for which the model has no positions, std::runtime_error for logits that are not finite,
/// and Stopped where it was asked to stop.
template <class Device, class Model, class Scalar = detail::ScalarOf<Model, Device>>
requires TokenModel<Model, Scalar, Device>
[[nodiscard]] std::vector<FoundText> search(Device& device, Model& model, Index contexts,
                                            const SearchOptions& options, StopToken stop = {}) {
  validate(options);
  require(options.longest < model.positions(), "search: texts of up to ", options.longest,
          " tokens behind the first, but the model has ", model.positions(), " positions");
  const auto vocabulary = static_cast<std::size_t>(model.vocabulary());
  const std::vector<char> is_never = detail::never_flags(options, vocabulary);
  require(contexts >= 0, "search: there cannot be ", contexts, " contexts");
  std::vector<detail::ContextSearch> searches(static_cast<std::size_t>(contexts),
                                              detail::ContextSearch(options));
  std::vector<Index> parents;
  std::vector<std::int32_t> tokens;
  for (Index c = 0; c < contexts; ++c) {
    parents.push_back(c);
    tokens.push_back(options.begin);
  }
  std::vector<Scalar> logits;
  std::vector<double> row;
  while (!tokens.empty()) {
    stop.check();
    detail::download_logits<Scalar>(device, model.next(device, parents, tokens), tokens.size(), logits);
    parents.clear();
    tokens.clear();
    std::size_t first = 0;  // row of the first live text of a context
    for (detail::ContextSearch& search : searches) {
      const std::size_t count = search.live().size();
      if (count == 0) continue;
      search.advance(is_never, [&](std::size_t i) {
        detail::log_softmax<Scalar>(std::span(logits).subspan((first + i) * vocabulary, vocabulary), row);
        return std::span<const double>(row);
      });
      for (const auto& text : search.live()) {
        parents.push_back(static_cast<Index>(first + text.parent));
        tokens.push_back(text.tokens.back());
      }
      first += count;
    }
  }
  std::vector<FoundText> found;
  for (detail::ContextSearch& search : searches) found.push_back(search.take());
  return found;
}

}  // namespace vlp::models
