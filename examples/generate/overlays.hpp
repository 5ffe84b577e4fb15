/// \file
/// Pictures of where a writer looked for each word.
#pragma once

#include "pictures/attention_picture.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/tasks/written_report.hpp>

#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace vlp::generate {

/// Names for the pictures of image files in one folder: "chest-attention.png" for "a/chest.dcm", and
/// "chest-2-attention.png" for another file of that name.
class OverlayNames {
 public:
  [[nodiscard]] std::string next(const std::filesystem::path& image) {
    const std::string stem = image.stem().string();
    std::string name = stem;
    for (int n = 2; !taken_.insert(name).second; ++n) name = stem + "-" + std::to_string(n);
    return name + "-attention.png";
  }

 private:
  std::set<std::string> taken_;
};

/// Makes the folder of the pictures. Throws std::runtime_error, naming it, where that is not possible.
inline void make_overlay_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  ensure(!error, "cannot create the folder '", folder.string(), "' of --overlay: ", error.message());
}

/// The image as the model sees it with the attention of each word of the report, word by word, and the report
/// below. `words` have weights over grid x grid regions.
[[nodiscard]] inline io::RgbImage draw_overlay(const io::GrayImage& image, Index grid,
                                               std::span<const tasks::AttendedWord> words,
                                               const std::string& report) {
  std::vector<pictures::AttentionPanel> panels;
  for (const tasks::AttendedWord& word : words)
    panels.push_back({word.word, MatrixView<const float>(word.attention.data(), {grid, grid}), {}});
  return pictures::draw_attention(image, panels, report, pictures::every_word);
}

}  // namespace vlp::generate
