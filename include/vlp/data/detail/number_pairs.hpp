/// \file
/// Numbers of equal reports and of the reports of one image.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/example.hpp>
#include <vlp/text/normalise.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data::detail {

/// Gives reports the same number where their whole texts, normalised, are equal, and keeps count of what a
/// limit of words cuts off.
class TextNumbering {
 public:
  explicit TextNumbering(Index max_words) : max_words_(max_words) {}

  /// The number of a report.
  std::int64_t operator()(const std::string& report) {
    const auto [found, is_new] =
        ids_.try_emplace(text::normalise(report, text::all_words), static_cast<std::int64_t>(ids_.size()));
    const std::string_view kept = text::first_words(found->first, static_cast<std::size_t>(max_words_));
    longer_ += kept.size() < found->first.size();
    ++reports_;
    Kept& same = kept_.try_emplace(kept, Kept{found->second}).first->second;
    ++same.reports;
    same.differ |= same.first != found->second;
    return found->second;
  }

  [[nodiscard]] std::size_t different() const { return ids_.size(); }
  void add_notes(std::vector<std::string>& notes) const {
    if (longer_ == 0) return;
    Index alike = 0;
    for (const auto& [text, same] : kept_) alike += same.differ ? same.reports : 0;
    notes.push_back(
        concat(longer_, " of ", reports_, " reports are longer than ", max_words_,
               " words (max-words), and what follows is not read",
               alike == 0 ? std::string() : concat("; ", alike, " reports differ from others only there")));
  }

 private:
  struct Kept {
    std::int64_t first;  // number of the first report with these words
    Index reports = 0;
    bool differ = false;
  };

  Index max_words_, reports_ = 0, longer_ = 0;
  std::unordered_map<std::string, std::int64_t> ids_;
  std::unordered_map<std::string_view, Kept> kept_;  // keys lie in those of ids_
};

/// Gives each example of an image that has several different reports the numbers of all of them.
inline void link_reports_of_images(std::vector<Example>& examples) {
  std::unordered_map<std::int64_t, std::vector<std::int64_t>> texts;
  for (const Example& example : examples) texts[example.image_id].push_back(example.text_id);
  std::unordered_map<std::int64_t, std::shared_ptr<const std::vector<std::int64_t>>> shared;
  for (auto& [image, ids] : texts) {
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    if (ids.size() > 1)
      shared.emplace(image, std::make_shared<const std::vector<std::int64_t>>(std::move(ids)));
  }
  if (shared.empty()) return;
  for (Example& example : examples)
    if (const auto found = shared.find(example.image_id); found != shared.end())
      example.image_texts = found->second;
}

}  // namespace vlp::data::detail
