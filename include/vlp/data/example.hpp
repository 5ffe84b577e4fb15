/// \file
/// One radiograph and its report: all but the pixels.
#pragma once

#include <vlp/data/labels.hpp>
#include <vlp/eval/pointing_game.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace vlp::data {

/// The true place of something that a report names.
struct Mark {
  std::string word;  ///< the noun that names it: a normalised word of the report
  std::string kind;  ///< under which results are summed, e.g. "nodule"
  eval::Box box;     ///< in pixels of the image at the size of the model
};

/// One radiograph and its report. Pixels are in the Images of the dataset.
struct Example {
  std::string name = {};           ///< file of the image, or another name by which messages call it
  std::string report = {};         ///< the whole text, as written; empty where there are labels alone
  std::string findings = {};       ///< the section that says what is seen; empty where not told apart
  std::string impression = {};     ///< the section with the conclusion; empty where not told apart
  std::vector<Label> labels = {};  ///< [Dataset::labels]
  std::uint64_t source = 0;        ///< hash of what the image was made of, such as a file; 0: unknown
  std::uint64_t source_bytes = 0;  ///< size of the image's file; 0: unknown
  std::int64_t image_id = 0;       ///< number in the dataset's Images: equal for examples of one image
  std::int64_t text_id = 0;        ///< equal for reports whose whole texts, normalised, are equal
  /// The text_id of every report of this image, ascending; null where it has this one alone. Shared by the
  /// examples of the image.
  std::shared_ptr<const std::vector<std::int64_t>> image_texts = {};
  std::vector<Mark> marks = {};  ///< empty where no true places are known
};

}  // namespace vlp::data
