// How fast a decoder writes texts, with cached keys and values and by computing all of each text again for
// each of its tokens.
//
// One iteration is a batch of texts, each of its own context, from the projection of their contexts to the
// logits of their last token; the tokens are given, so nothing is searched. Items are written tokens.
// `allocations` counts those of a token after two batches that warm up. The device has as many threads as
// OMP_NUM_THREADS says, else as there are processors; the label says how many.
#include "support/allocations.hpp"

#include <benchmark/benchmark.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/models/report_decoder.hpp>
#include <vlp/models/report_decoding.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/tokens.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace {

using vlp::Index;

struct Size {
  const char* name;
  Index width, heads, blocks, vocabulary, regions;
};

// The model that `pretrain` makes of built-in data, and one of the size that reports of hospitals take.
constexpr Size sizes[] = {{"default", 96, 4, 2, 600, 64}, {"large", 512, 8, 6, 30000, 196}};

/// A decoder with texts to write: all begin with token 2, and go on with tokens at random.
class Work {
 public:
  Work(const Size& size, Index texts, Index tokens)
      : texts_(texts),
        decoder_({.vocabulary = size.vocabulary,
                  .positions = tokens,
                  .width = size.width,
                  .depth = size.blocks,
                  .heads = size.heads},
                 vlp::Random(1)),
        parameters_(device_, decoder_),
        decoding_(decoder_),
        hidden_(static_cast<std::size_t>(texts * tokens * size.width)),
        logits_(static_cast<std::size_t>(texts * size.vocabulary)) {
    vlp::Random random(2);
    context_.resize(static_cast<std::size_t>(texts * size.regions * size.width));
    for (float& x : context_) x = random.normal();
    contexts_.assign_equal(device_, texts, size.regions);
    for (Index t = 0; t < tokens; ++t)
      for (Index i = 0; i < texts; ++i) {
        const auto any = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(size.vocabulary)));
        if (t == 0) parents_.push_back(i);
        ids_.push_back(t == 0 ? 2 : any);
      }
  }

  [[nodiscard]] int threads() const { return device_.threads(); }

  /// Writes all with cached keys and values.
  void with_cache() {
    decoding_.begin(device_, context(), contexts_);
    for (std::size_t at = 0; at < ids_.size(); at += parents_.size())
      benchmark::DoNotOptimize(
          decoding_.next(device_, parents_, std::span(ids_).subspan(at, parents_.size())).data());
  }

  /// Writes all by a forward pass over the whole texts for each token.
  void without_cache() {
    const Index width = decoder_.width(), tokens = static_cast<Index>(ids_.size()) / texts_;
    std::vector<std::int32_t> ids;
    std::vector<Index> offsets;
    for (Index length = 1; length <= tokens; ++length) {
      ids.clear();
      offsets.assign(1, 0);
      for (Index i = 0; i < texts_; ++i) {
        for (Index t = 0; t < length; ++t) ids.push_back(ids_[static_cast<std::size_t>(t * texts_ + i)]);
        offsets.push_back((i + 1) * length);
      }
      tokens_.assign(device_, ids, offsets);
      const vlp::MatrixView<float> hidden(hidden_.data(), {texts_ * length, width});
      decoder_.forward(device_, {tokens_, context(), contexts_}, hidden);
      // The last token of each text.
      const vlp::MatrixView<const float> last(hidden.data() + (length - 1) * width, {texts_, width},
                                              {length * width, 1});
      decoder_.logits(device_, last, {logits_.data(), {texts_, decoder_.options().vocabulary}});
      benchmark::DoNotOptimize(logits_.data());
    }
  }

 private:
  [[nodiscard]] vlp::MatrixView<const float> context() const {
    return {context_.data(), {contexts_.tokens(), decoder_.context_width()}};
  }

  vlp::Cpu device_;
  Index texts_;
  vlp::models::ReportDecoder<float> decoder_;
  vlp::Parameters<float> parameters_;
  vlp::models::ReportDecoding<float> decoding_;
  std::vector<float> context_, hidden_, logits_;
  vlp::nn::Sequences<> contexts_;
  vlp::nn::Tokens<> tokens_;
  std::vector<Index> parents_;
  std::vector<std::int32_t> ids_;  // [tokens, texts]
};

void measure(benchmark::State& state, const Size& size, Index texts, Index tokens, bool cached) {
  Work work(size, texts, tokens);
  const auto write = [&] { cached ? work.with_cache() : work.without_cache(); };
  // The slowest take minutes for a batch: those are not warmed up.
  const bool is_slow = !cached && size.vocabulary > 1000;
  if (!is_slow) {
    write();
    write();
    const std::int64_t before = vlp::benchmarks::allocations();
    write();
    state.counters["allocations"] =
        static_cast<double>(vlp::benchmarks::allocations() - before) / static_cast<double>(texts * tokens);
  }
  for (auto _ : state) write();
  state.SetItemsProcessed(state.iterations() * texts * tokens);
  state.SetLabel(std::to_string(work.threads()) + " threads");
}

}  // namespace

int main(int argc, char** argv) {
  for (const Size& size : sizes)
    for (const Index texts : {1, 32})
      for (const Index tokens : {16, 60})
        for (const bool cached : {true, false}) {
          const std::string name = std::string(size.name) + "/texts:" + std::to_string(texts) +
                                   "/tokens:" + std::to_string(tokens) + (cached ? "/cached" : "/whole");
          benchmark::RegisterBenchmark(name.c_str(),
                                       [&size, texts, tokens, cached](benchmark::State& state) {
                                         measure(state, size, texts, tokens, cached);
                                       })
              ->UseRealTime()
              ->Unit(benchmark::kMillisecond);
        }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
