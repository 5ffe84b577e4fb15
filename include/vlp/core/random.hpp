/// \file
/// Counter-based random numbers: the same on every platform, compiler and thread count.
#pragma once

#include <Random123/philox.h>

#include <vlp/core/scalar.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>

namespace vlp {

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) addressed by a seed
/// and three stream numbers, e.g. (purpose, epoch, index). Two generators with the same address give the same
/// numbers; any other address gives independent ones. No std:: distribution is used, since those differ
/// between libraries.
class Random {
 public:
  using result_type = std::uint32_t;

  explicit Random(std::uint64_t seed, std::uint32_t stream0 = 0, std::uint32_t stream1 = 0,
                  std::uint32_t stream2 = 0)
      : key_{{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}},
        counter_{{0, stream0, stream1, stream2}} {}

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return 0xffffffffu; }

  /// 32 uniform random bits.
  result_type operator()() {
    if (left_ == 0) {
      block_ = r123::Philox4x32()(counter_, key_);
      ++counter_[0];
      left_ = 4;
    }
    return block_[4 - left_--];
  }

  /// Uniform in [0, n), without bias (Lemire, "Fast random integer generation in an interval", 2019). n >= 1.
  std::uint32_t below(std::uint32_t n) {
    std::uint64_t product = static_cast<std::uint64_t>((*this)()) * n;
    if (static_cast<std::uint32_t>(product) < n) {
      const std::uint32_t threshold = (0u - n) % n;
      while (static_cast<std::uint32_t>(product) < threshold)
        product = static_cast<std::uint64_t>((*this)()) * n;
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

  /// Uniform in [0, 1), a multiple of 2^-24: exact in float.
  float uniform() { return static_cast<float>((*this)() >> 8) * 0x1p-24f; }

  /// Uniform in [low, high), up to rounding, which may give `high` itself.
  float uniform(float low, float high) { return low + (high - low) * uniform(); }

  /// Standard normal (Box-Muller). Agrees between platforms up to the rounding of their log, cos and sin.
  float normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - static_cast<double>(uniform())));
    return static_cast<float>(radius * std::cos(2.0 * std::numbers::pi * static_cast<double>(uniform())));
  }

  /// Fisher-Yates shuffle of the elements [first, last).
  template <class Iterator>
  void shuffle(Iterator first, Iterator last) {
    for (auto n = static_cast<std::uint32_t>(last - first); n > 1; --n)
      std::swap(first[n - 1], first[static_cast<std::ptrdiff_t>(below(n))]);
  }

 private:
  r123::Philox4x32::key_type key_;
  r123::Philox4x32::ctr_type counter_;
  r123::Philox4x32::ctr_type block_{};
  int left_ = 0;
};

}  // namespace vlp
