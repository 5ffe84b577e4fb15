/// \file
/// A progress bar for files that are read.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/data/read_progress.hpp>
#include <vlp/train/progress.hpp>

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace vlp::cli {

/// Draws how far reading has come, a line for each kind of file, and none for what takes less than a second.
class ReadingBar {
 public:
  explicit ReadingBar(std::FILE* out = stdout) : out_(out) {}
  ReadingBar(const ReadingBar&) = delete;  // what report() returned points here
  ReadingBar& operator=(const ReadingBar&) = delete;
  ~ReadingBar() { finish(); }

  /// Function to be told how far reading has come. This must outlive it.
  [[nodiscard]] data::ReadProgress report() {
    return [this](std::string_view kind, Index done, Index total) { show(kind, done, total); };
  }

  /// Ends the drawn line, so that other output starts on one of its own.
  void finish() {
    if (bar_) bar_->finish();
    bar_.reset();
    kind_.clear();
  }

 private:
  void show(std::string_view kind, Index done, Index total) {
    if (kind != kind_) {
      finish();
      kind_ = kind;
      bar_.emplace(total, 1, 0, out_, train::Progress::Words{kind_, kind_});
    }
    constexpr double silent = 1;  // seconds
    if (bar_->seconds() > silent) bar_->show(done, {});
  }

  std::FILE* out_;
  std::string kind_;
  std::optional<train::Progress> bar_;
};

}  // namespace vlp::cli
