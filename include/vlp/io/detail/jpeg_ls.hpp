/// \file
/// Grey images of JPEG-LS (ITU-T T.87 | ISO/IEC 14495-1), without loss and near it.
///
/// vlp decodes them itself: the library that DCMTK has for it (CharLS 1) ends the process by assertions, and
/// indexes beyond its tables, where coded errors are larger than any encoder makes them.
#pragma once

#include <vlp/core/errors.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::io::detail {

/// The parameters of a scan: `maximum` is MAXVAL, `near` the difference that loss may make; T1 to T3 and
/// RESET are those of annex C.2.4.1.1.
struct JpegLsParameters {
  int maximum = 255, near = 0;
  int t1 = 0, t2 = 0, t3 = 0, reset = 64;

  /// Puts the standard's values where there is a 0 (C.2.4.1.1.1).
  void complete() {
    const auto clamp = [&](int value, int least) { return value > maximum || value < least ? least : value; };
    std::array<int, 3> standard{};
    if (maximum >= 128) {
      const int factor = (std::min(maximum, 4095) + 128) / 256;
      standard = {factor + 2 + 3 * near, 4 * factor + 3 + 5 * near, 17 * factor + 4 + 7 * near};
    } else {
      const int factor = 256 / (maximum + 1);
      standard = {std::max(2, 3 / factor + 3 * near), std::max(3, 7 / factor + 5 * near),
                  std::max(4, 21 / factor + 7 * near)};
    }
    if (t1 == 0) t1 = clamp(standard[0], near + 1);
    if (t2 == 0) t2 = clamp(standard[1], t1);
    if (t3 == 0) t3 = clamp(standard[2], t2);
    if (reset == 0) reset = 64;
  }

  [[nodiscard]] bool valid() const {
    return maximum >= 1 && near >= 0 && near <= std::min(255, maximum / 2) && near < t1 && t1 <= t2 &&
           t2 <= t3 && t3 <= maximum && reset >= 3 && reset <= std::max(255, maximum);
  }
};

/// The bits of a scan. A byte behind FF has seven, the highest of which stays behind (A.1).
class JpegLsBits {
 public:
  JpegLsBits(std::string_view coded, const std::string& name) : coded_(coded), name_(name) {}

  int bit() { return static_cast<int>(bits(1)); }

  /// The number of the next `count` bits, up to 32.
  std::uint32_t bits(int count) {
    if (count == 0) return 0;
    while (held_ < count) take();
    held_ -= count;
    return static_cast<std::uint32_t>(cache_ >> held_ & ((std::uint64_t{1} << count) - 1));
  }

  /// The number of zeros before the next one, which is taken too; more than `most` are an error.
  int zeros(int most) {
    int count = 0;
    while (bit() == 0) {
      ++count;
      ensure(count <= most, name_, ": damaged JPEG-LS data of a DICOM file (an error that no encoder makes)");
    }
    return count;
  }

  /// The bytes of which no bit was taken.
  [[nodiscard]] std::size_t left() const { return coded_.size() - at_ + static_cast<std::size_t>(held_ / 8); }

 private:
  void take() {
    ensure(at_ < coded_.size(), name_, ": truncated JPEG-LS data of a DICOM file");
    const auto byte = static_cast<unsigned char>(coded_[at_++]);
    const int count = after_ff_ ? 7 : 8;
    after_ff_ = byte == 0xFF;
    cache_ = cache_ << count | (byte & ((1U << count) - 1));
    held_ += count;
  }

  std::string_view coded_;
  const std::string& name_;
  std::size_t at_ = 0;
  std::uint64_t cache_ = 0;
  int held_ = 0;
  bool after_ff_ = false;
};

/// Decodes one scan of one component.
class JpegLsDecoder {
 public:
  JpegLsDecoder(std::string_view coded, const JpegLsParameters& parameters, const std::string& name)
      : bits_(coded, name),
        name_(name),
        p_(parameters),
        step_(2 * p_.near + 1),
        range_((p_.maximum + 2 * p_.near) / step_ + 1),
        range_bits_(std::bit_width(static_cast<unsigned>(range_ - 1))),
        limit_(limit_of(std::max(2, static_cast<int>(std::bit_width(static_cast<unsigned>(p_.maximum)))))) {
    contexts_.fill({std::max(2, (range_ + 32) / 64), 0, 0, 1});
    gradients_.resize(2 * static_cast<std::size_t>(p_.maximum) + 1);
    for (int d = -p_.maximum; d <= p_.maximum; ++d)
      gradients_[static_cast<std::size_t>(d + p_.maximum)] = level(d);
  }

  /// Calls `line(samples)` with `width` samples for each of `height` lines.
  template <class Line>
  void decode(std::size_t width, std::size_t height, const Line& line) {
    // One more on each side: the line above begins with the first sample of the one above it, and ends with
    // its last.
    std::vector<int> above(width + 2), current(width + 2);
    for (std::size_t y = 0; y < height; ++y) {
      above[width + 1] = above[width];
      current[0] = above[1];
      for (std::size_t x = 1; x <= width;) x = decode_sample(above.data(), current.data(), x, width);
      line(current.data() + 1);
      std::swap(above, current);
    }
    ensure(bits_.left() <= 1, name_, ": damaged JPEG-LS data of a DICOM file (more data than pixels)");
  }

 private:
  struct Context {
    std::int64_t a;  ///< sum of the errors' magnitudes
    int b, c;        ///< bias and its correction; in a context of runs, b counts negative errors
    int n;           ///< occurrences
  };

  static int limit_of(int sample_bits) { return 2 * (sample_bits + std::max(8, sample_bits)); }

  /// The gradient in one of nine regions (A.3.3).
  [[nodiscard]] signed char level(int d) const {
    if (std::abs(d) <= p_.near) return 0;
    const int magnitude = std::abs(d) < p_.t1 ? 1 : std::abs(d) < p_.t2 ? 2 : std::abs(d) < p_.t3 ? 3 : 4;
    return static_cast<signed char>(d < 0 ? -magnitude : magnitude);
  }
  [[nodiscard]] int quantised(int d) const { return gradients_[static_cast<std::size_t>(d + p_.maximum)]; }

  /// Decodes the sample at x, or a run that begins there. Returns where to go on.
  std::size_t decode_sample(const int* above, int* current, std::size_t x, std::size_t width) {
    const int a = current[x - 1], b = above[x], c = above[x - 1], d = above[x + 1];
    int q = 81 * quantised(d - b) + 9 * quantised(b - c) + quantised(c - a);
    if (q == 0) return decode_run(above, current, x, width);
    const int sign = q < 0 ? -1 : 1;
    Context& context = contexts_[static_cast<std::size_t>(sign * q)];
    const int guess = c >= std::max(a, b) ? std::min(a, b) : c <= std::min(a, b) ? std::max(a, b) : a + b - c;
    const int predicted = std::clamp(guess + sign * context.c, 0, p_.maximum);
    const int k = golomb(context.n, context.a);
    const int mapped = read_mapped(k, limit_);
    const bool swapped = p_.near == 0 && k == 0 && 2 * context.b <= -context.n;
    const bool odd = mapped % 2 != 0;
    const int error =
        swapped ? (odd ? (mapped - 1) / 2 : -mapped / 2 - 1) : (odd ? -(mapped + 1) / 2 : mapped / 2);
    update(context, error);
    current[x] = reconstructed(predicted, sign * error);
    return x + 1;
  }

  /// The variables and the bias of a context (A.6).
  void update(Context& context, int error) const {
    context.b += error * step_;
    context.a += std::abs(error);
    if (context.n == p_.reset) {
      context.a >>= 1;
      context.b >>= 1;
      context.n >>= 1;
    }
    ++context.n;
    if (context.b <= -context.n) {
      context.b = std::max(context.b + context.n, 1 - context.n);
      context.c = std::max(context.c - 1, -128);
    } else if (context.b > 0) {
      context.b = std::min(context.b - context.n, 0);
      context.c = std::min(context.c + 1, 127);
    }
  }

  std::size_t decode_run(const int* above, int* current, std::size_t x, std::size_t width) {
    static constexpr std::array<int, 32> lengths{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,  2,  3,  3,  3,  3,
                                                 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const int a = current[x - 1];
    const auto fill = [&](std::size_t count) {
      std::fill_n(current + x, count, a);
      x += count;
    };
    while (bits_.bit() == 1) {
      const std::size_t whole = std::size_t{1} << lengths[run_], rest = width + 1 - x;
      fill(std::min(whole, rest));
      if (whole <= rest && run_ < 31) ++run_;
      if (x > width) return x;
    }
    const std::size_t count = bits_.bits(lengths[run_]);
    ensure(count < width + 1 - x, name_, ": damaged JPEG-LS data of a DICOM file (a run beyond its line)");
    fill(count);
    const int b = above[x], like = std::abs(a - b) <= p_.near ? 1 : 0;
    Context& context = contexts_[static_cast<std::size_t>(365 + like)];
    const int k = golomb(context.n, context.a + (like == 1 ? context.n >> 1 : 0));
    const int mapped = read_mapped(k, limit_ - lengths[run_] - 1);
    const int odd = (mapped + like) % 2, magnitude = (mapped + like + odd) / 2;
    const int error = (k != 0 || 2 * context.b >= context.n) == (odd == 1) ? -magnitude : magnitude;
    if (error < 0) ++context.b;
    context.a += (mapped + 1 - like) >> 1;
    if (context.n == p_.reset) {
      context.a >>= 1;
      context.b >>= 1;
      context.n >>= 1;
    }
    ++context.n;
    current[x] = reconstructed(like == 1 ? a : b, like == 0 && a > b ? -error : error);
    if (run_ > 0) --run_;
    return x + 1;
  }

  /// The least k for which n 2^k is not below `sum`.
  static int golomb(int n, std::int64_t sum) {
    int k = 0;
    while (static_cast<std::int64_t>(n) << k < sum) ++k;
    return k;
  }

  /// Reads a mapped error (A.5.3). An encoder's is never above the range.
  int read_mapped(int k, int limit) {
    const int escape = limit - range_bits_ - 1;
    const int high = bits_.zeros(escape);
    const std::int64_t mapped = high < escape ? (static_cast<std::int64_t>(high) << k) + bits_.bits(k)
                                              : static_cast<std::int64_t>(bits_.bits(range_bits_)) + 1;
    ensure(mapped <= range_, name_,
           ": damaged JPEG-LS data of a DICOM file (an error that no encoder makes)");
    return static_cast<int>(mapped);
  }

  [[nodiscard]] int reconstructed(int predicted, int error) const {
    int value = predicted + error * step_;
    if (value < -p_.near)
      value += range_ * step_;
    else if (value > p_.maximum + p_.near)
      value -= range_ * step_;
    return std::clamp(value, 0, p_.maximum);
  }

  JpegLsBits bits_;
  const std::string& name_;
  JpegLsParameters p_;
  int step_, range_, range_bits_, limit_;
  std::array<Context, 367> contexts_{};
  std::vector<signed char> gradients_;
  std::size_t run_ = 0;
};

}  // namespace vlp::io::detail
