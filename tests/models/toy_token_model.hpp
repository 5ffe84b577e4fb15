/// \file
/// Toy token models, and searches over them as they are defined: all texts, the greedy one, a beam.
#pragma once

#include "support/catch.hpp"

#include <rapidcheck.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/random.hpp>
#include <vlp/models/search.hpp>
#include <vlp/models/token_ensemble.hpp>
#include <vlp/models/token_model.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace vlp::test {

using namespace models;

using Text = std::vector<std::int32_t>;
inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// Logits by a function of a context and all tokens so far, the first of which begins the text.
template <class DeviceType = Cpu>
class ToyModel {
 public:
  using Device = DeviceType;
  using Logits = std::function<std::vector<double>(Index context, const Text& text)>;

  explicit ToyModel(Logits logits)
      : logits_(std::move(logits)), vocabulary_(static_cast<Index>(logits_(0, {0}).size())) {}

  [[nodiscard]] Index vocabulary() const { return vocabulary_; }
  [[nodiscard]] Index positions() const { return 1000; }

  MatrixView<const double> next(Device& device, std::span<const Index> parents,
                                std::span<const std::int32_t> tokens) {
    std::vector<State> texts;
    std::vector<double> host;
    for (std::size_t i = 0; i < parents.size(); ++i) {
      State state = calls == 0 ? State{parents[i], {}} : texts_.at(static_cast<std::size_t>(parents[i]));
      state.text.push_back(tokens[i]);
      const std::vector<double> row = logits_(state.context, state.text);
      host.insert(host.end(), row.begin(), row.end());
      texts.push_back(std::move(state));
    }
    texts_ = std::move(texts);
    ++calls;
    most_texts = std::max(most_texts, parents.size());
    double* const memory = memory_.resize(static_cast<Index>(host.size()));
    upload(device, std::span<const double>(host), memory);
    const auto count = static_cast<Index>(parents.size());
    return {memory, {count, static_cast<Index>(host.size()) / count}};
  }

  int calls = 0;
  std::size_t most_texts = 0;

 private:
  struct State {
    Index context;
    Text text;
  };
  Logits logits_;
  Index vocabulary_;
  std::vector<State> texts_;
  typename Device::template Buffer<double> memory_;
};
static_assert(TokenModel<ToyModel<>, double, Cpu>);

template <class Device>
using Both = TokenEnsemble<double, Device, ToyModel<Device>, ToyModel<Device>>;

/// Logits drawn anew for each context and text; `whole` ones of 0 to 2 make ties.
inline ToyModel<>::Logits drawn_logits(std::uint32_t seed, std::size_t vocabulary, bool whole = false) {
  return [=](Index context, const Text& text) {
    std::uint32_t key = static_cast<std::uint32_t>(context) + 1;
    for (const std::int32_t token : text) key = key * 31 + static_cast<std::uint32_t>(token);
    Random random(seed, key);
    std::vector<double> logits(vocabulary);
    for (double& x : logits) x = whole ? static_cast<double>(random.below(3)) : 4 * random.uniform() - 2;
    return logits;
  };
}

/// log P of each token after a text.
inline std::vector<double> log_probabilities(const std::vector<double>& logits) {
  double sum = 0;
  for (const double x : logits) sum += std::exp(x);
  std::vector<double> out;
  for (const double x : logits) out.push_back(x - std::log(sum));
  return out;
}

inline double penalised(double log_probability, std::size_t tokens, double a) {
  return log_probability / std::pow((5.0 + static_cast<double>(tokens) + 1) / 6.0, a);
}

inline bool repeats(const Text& text, std::size_t n) {
  for (std::size_t i = 0; i + n <= text.size(); ++i)
    for (std::size_t j = i + 1; j + n <= text.size(); ++j)
      if (std::equal(text.begin() + static_cast<std::ptrdiff_t>(i),
                     text.begin() + static_cast<std::ptrdiff_t>(i + n),
                     text.begin() + static_cast<std::ptrdiff_t>(j)))
        return true;
  return false;
}

inline bool allowed(const SearchOptions& o, const Text& text) {
  for (const std::int32_t token : o.never)
    if (std::ranges::find(text, token) != text.end()) return false;
  return o.no_repeat == 0 || !repeats(text, static_cast<std::size_t>(o.no_repeat));
}

/// Calls visit(text, log P of it and its end) for every text that the options allow.
inline void for_each_text(const ToyModel<>::Logits& logits, Index context, const SearchOptions& o,
                          const Text& text, double log_probability,
                          const std::function<void(const Text&, double)>& visit) {
  Text whole{o.begin};
  whole.insert(whole.end(), text.begin(), text.end());
  const std::vector<double> next = log_probabilities(logits(context, whole));
  visit(text, log_probability + next[static_cast<std::size_t>(o.end)]);
  if (static_cast<Index>(text.size()) == o.longest) return;
  for (std::int32_t token = 0; token < static_cast<std::int32_t>(next.size()); ++token) {
    if (token == o.end) continue;
    Text longer = text;
    longer.push_back(token);
    if (allowed(o, longer))
      for_each_text(logits, context, o, longer, log_probability + next[static_cast<std::size_t>(token)],
                    visit);
  }
}

inline FoundText best_of_all(const ToyModel<>::Logits& logits, Index context, const SearchOptions& o) {
  FoundText best;
  best.score = -infinity;
  for_each_text(logits, context, o, {}, 0, [&](const Text& text, double log_probability) {
    const double score = penalised(log_probability, text.size(), o.length_penalty);
    if (score > best.score) best = {text, log_probability, score};
  });
  return best;
}

/// The most probable allowed token each time; the first of equals.
inline FoundText greedy(const ToyModel<>::Logits& logits, Index context, const SearchOptions& o) {
  FoundText out;
  Text whole{o.begin};
  for (;;) {
    const std::vector<double> next = log_probabilities(logits(context, whole));
    std::int32_t best = -1;
    for (std::int32_t token = 0; token < static_cast<std::int32_t>(next.size()); ++token) {
      Text longer = out.tokens;
      if (token != o.end) longer.push_back(token);
      if (allowed(o, longer) &&
          (best < 0 || next[static_cast<std::size_t>(token)] > next[static_cast<std::size_t>(best)] + 1e-12))
        best = token;
    }
    const bool must_end = static_cast<Index>(out.tokens.size()) == o.longest;
    const std::int32_t token = must_end ? o.end : best;
    out.log_probability += next[static_cast<std::size_t>(token)];
    if (token == o.end) {
      out.score = penalised(out.log_probability, out.tokens.size(), o.length_penalty);
      out.is_cut = must_end && best != o.end;
      return out;
    }
    out.tokens.push_back(token);
    whole.push_back(token);
  }
}

/// Beam search as it is defined, one text at a time: with or without the greedy text beside the beam.
inline FoundText reference_beam(const ToyModel<>::Logits& logits, const SearchOptions& o, bool keeps_greedy) {
  struct Prefix {
    Text tokens;
    double log_probability;
    bool is_greedy;
  };
  const auto beam = static_cast<std::size_t>(o.beam);
  std::vector<Prefix> live{{{}, 0, true}};
  std::optional<FoundText> best;
  std::size_t ended = 0;
  for (Index length = 0; !live.empty(); ++length) {
    std::vector<Prefix> all;  // tokens with the new one
    for (const Prefix& part : live) {
      Text whole{o.begin};
      whole.insert(whole.end(), part.tokens.begin(), part.tokens.end());
      const std::vector<double> next = log_probabilities(logits(0, whole));
      std::vector<Prefix> own;
      for (std::int32_t token = 0; token < static_cast<std::int32_t>(next.size()); ++token) {
        Prefix longer{part.tokens, part.log_probability + next[static_cast<std::size_t>(token)], false};
        if (token != o.end) longer.tokens.push_back(token);
        if (!allowed(o, longer.tokens) || (length == o.longest && token != o.end)) continue;
        if (!std::isfinite(longer.log_probability)) continue;
        if (token == o.end) longer.tokens.push_back(token);
        own.push_back(longer);
      }
      std::ranges::max_element(own, {}, &Prefix::log_probability)->is_greedy = part.is_greedy;
      all.insert(all.end(), own.begin(), own.end());
    }
    std::ranges::sort(all, std::greater(), &Prefix::log_probability);
    live.clear();
    std::size_t kept = 0;
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      Prefix& part = all[rank];
      const bool guarded = keeps_greedy && part.is_greedy;
      if (part.tokens.back() != o.end) {
        if (kept < beam || guarded) live.push_back(part);
        ++kept;
        continue;
      }
      if (rank < beam) ++ended;
      if (rank >= beam && !guarded) continue;
      part.tokens.pop_back();
      const double score = penalised(part.log_probability, part.tokens.size(), o.length_penalty);
      if (!best || score > best->score) best = {part.tokens, part.log_probability, score};
    }
    if (ended >= beam)
      std::erase_if(live, [&](const Prefix& part) { return !(keeps_greedy && part.is_greedy); });
  }
  return *best;
}

/// Probabilities of which a few tokens have most and some others none, so that a beam may well lose the
/// greedy text, and texts come to dead ends.
inline ToyModel<>::Logits steep_logits(std::uint32_t seed, std::size_t vocabulary) {
  return [logits = drawn_logits(seed, vocabulary)](Index context, const Text& text) {
    std::vector<double> steep = logits(context, text);
    for (double& x : steep) x = x * x * x;
    for (std::size_t token = 2; token < steep.size(); ++token)
      if (steep[token] < -0.5) steep[token] = -infinity;
    return steep;
  };
}

inline std::vector<FoundText> searched(const ToyModel<>::Logits& logits, Index contexts,
                                       const SearchOptions& o) {
  Cpu device(1);
  ToyModel<> model(logits);
  return search(device, model, contexts, o);
}

inline void check_same(const FoundText& found, const FoundText& wanted) {
  CHECK(found.tokens == wanted.tokens);
  CHECK(std::abs(found.log_probability - wanted.log_probability) < 1e-12);
  CHECK(std::abs(found.score - wanted.score) < 1e-12);
}

/// Options of a vocabulary of five: 0 begins and never stands in a text, 1 ends.
inline SearchOptions small_search() {
  return {.beam = 1, .longest = 3, .begin = 0, .end = 1, .never = {0}};
}
inline SearchOptions drawn_options() {
  SearchOptions o = small_search();
  o.beam = *rc::gen::inRange<Index>(1, 6);
  o.longest = *rc::gen::inRange<Index>(1, 6);
  o.length_penalty = *rc::gen::element(0.0, 0.6, 1.0, 2.5);
  o.no_repeat = *rc::gen::inRange<Index>(0, 3);
  return o;
}

}  // namespace vlp::test
