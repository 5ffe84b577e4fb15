/// \file
/// Progress on a terminal (one line that is drawn over), or as plain lines where there is none.
#pragma once

#include <unistd.h>

#include <vlp/core/scalar.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

namespace vlp::train {

/// "1 h 02 min", "3 min 20 s", "12 s".
inline std::string duration_text(double seconds) {
  char text[64];
  const auto s = static_cast<long>(seconds + 0.5);
  if (s >= 3600)
    std::snprintf(text, sizeof text, "%ld h %02ld min", s / 3600, s / 60 % 60);
  else if (s >= 60)
    std::snprintf(text, sizeof text, "%ld min %02ld s", s / 60, s % 60);
  else
    std::snprintf(text, sizeof text, "%ld s", s);
  return text;
}

/// Draws `done` of `total` steps, a caller's text, a rate and the time left. On a terminal it draws over the
/// same line, at most ten times a second; elsewhere it writes a line each tenth of the way.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  /// The nouns of a line: "step 3/10 ... 12 examples/s".
  struct Words {
    std::string step = "step", examples = "examples";
  };

  /// `examples_per_step` turns steps into the rate shown; `done` steps lie behind a continued run. Writes to
  /// `out`, or nothing where it is null.
  Progress(Index total, Index examples_per_step, Index done = 0, std::FILE* out = stdout)
      : Progress(total, examples_per_step, done, out, Words()) {}
  Progress(Index total, Index examples_per_step, Index done, std::FILE* out, Words words)
      : total_(total),
        examples_(examples_per_step),
        first_(done),
        words_(std::move(words)),
        out_(out),
        terminal_(out != nullptr && isatty(fileno(out)) != 0) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { finish(); }

  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }
  /// Examples per second since the start.
  [[nodiscard]] double rate(Index done) const {
    return static_cast<double>((done - first_) * examples_) / std::max(seconds(), 1e-9);
  }

  void show(Index done, const std::string& text) {
    if (out_ == nullptr) return;
    const bool last = done == total_;
    if (terminal_) {
      const auto now = Clock::now();
      if (!last && now - drawn_ < std::chrono::milliseconds(100)) return;
      drawn_ = now;
      const int filled = static_cast<int>(24 * done / std::max<Index>(total_, 1));
      std::fprintf(out_, "\r[%.*s%.*s] %s\x1b[K", filled, "########################", 24 - filled,
                   "........................", line(done, text).c_str());
      std::fflush(out_);
      open_ = true;
      if (last) finish();
    } else if (const Index tenth = 10 * done / std::max<Index>(total_, 1); tenth > tenth_ || last) {
      tenth_ = tenth;
      std::fprintf(out_, "%s\n", line(done, text).c_str());
      std::fflush(out_);
    }
  }

  /// Ends the drawn line, so that other output starts on one of its own.
  void finish() {
    if (open_) std::fprintf(out_, "\n");
    open_ = false;
  }

 private:
  [[nodiscard]] std::string line(Index done, const std::string& text) const {
    const double per_step = seconds() / static_cast<double>(std::max<Index>(done - first_, 1));
    char rate_text[32];
    std::snprintf(rate_text, sizeof rate_text, "  %.0f ", rate(done));
    return words_.step + " " + std::to_string(done) + "/" + std::to_string(total_) +
           (text.empty() ? "" : "  ") + text + rate_text + words_.examples + "/s  " +
           duration_text(per_step * static_cast<double>(total_ - done)) + " left";
  }

  Index total_, examples_, first_;
  Words words_;
  std::FILE* out_;
  bool terminal_, open_ = false;
  Index tenth_ = 0;
  Clock::time_point start_ = Clock::now(), drawn_{};
};

}  // namespace vlp::train
