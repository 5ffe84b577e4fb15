/// \file
/// Questions about images with their answers, whatever the collection they come from: data/vqa_rad.hpp and
/// data/vqa_med.hpp read them.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/file_account.hpp>
#include <vlp/data/layouts/detail/table_fields.hpp>
#include <vlp/io/file.hpp>

#include <array>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace vlp::data {

/// The kind of an answer.
enum class AnswerKind {
  open,   ///< any words
  closed  ///< one of few, mostly yes or no
};

}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 2> enum_names<data::AnswerKind>{"open", "closed"};
}  // namespace vlp

namespace vlp::data {

/// A question about an image.
struct Question {
  std::string id = {};        ///< as the file gives it; empty if it gives none
  io::Path image = {};        ///< an image file that was there when the question was read
  std::string question = {};  ///< never empty
  std::vector<std::string> answers =
      {};  ///< each of them is right; one at least, the first as the file has it
  AnswerKind kind = AnswerKind::open;
  std::string category = {};  ///< what the question asks for, e.g. "modality"; empty if unknown
  std::string split = {};     ///< "train", "validation" or "test"
  Index line = 0;             ///< of the file, or the entry of a JSON array, counted from 1
};

/// The questions of a collection, and an account of those that were left out.
struct Questions {
  std::string path;                ///< the folder, for messages
  std::vector<Question> entries;   ///< in file order; never empty as a reader returns them
  std::vector<FileAccount> files;  ///< the files that were read, with their bad entries
  std::vector<io::Path> missing;  ///< image files that are not there, each once; their questions are left out
  Index without_image = 0;        ///< questions left out because their image is missing
  std::vector<std::string> notes;  ///< sentences for the user about the numbers above
};

namespace detail {

/// Puts questions whose image is there into a collection, and counts the others.
class QuestionCollector {
 public:
  explicit QuestionCollector(Questions& out) : out_(out) {}

  void add(Question question) {
    const auto [known, is_new] = is_there_.try_emplace(question.image.string(), false);
    if (is_new) {
      known->second = layouts::detail::is_file(question.image);
      if (!known->second) out_.missing.push_back(question.image);
    }
    if (known->second)
      out_.entries.push_back(std::move(question));
    else
      ++out_.without_image;
  }

 private:
  Questions& out_;
  std::map<std::string, bool> is_there_;  // image files
};

/// The fault of the name of an image file, of which no file may be outside the folder of images; empty
/// if nothing is.
inline std::string fault_of_image_name(std::string_view name) {
  const bool is_plain = !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
                        name.find('\0') == name.npos;
  return is_plain ? std::string() : concat("image ", shown(std::string(name)), " is no plain file name");
}

/// The first of several folders that there is; the first of all where there is none.
inline io::Path find_folder(const io::Path& parent, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    std::error_code ignored;
    if (std::filesystem::is_directory(parent / name, ignored)) return parent / name;
  }
  return parent / *names.begin();
}

/// Notes how many questions there are in each split, and how many images of the test questions are in
/// training questions, too: images are known by their names, whatever folder they are in.
inline void note_splits(Questions& questions) {
  std::map<std::string, std::pair<Index, Index>> splits;  // all and closed ones
  std::set<std::string> train, test;
  for (const Question& question : questions.entries) {
    auto& [all, closed] = splits[question.split];
    ++all;
    closed += question.kind == AnswerKind::closed;
    if (question.split == "train") train.insert(question.image.filename().string());
    if (question.split == "test") test.insert(question.image.filename().string());
  }
  for (const auto& [split, counts] : splits)
    questions.notes.push_back(concat(questions.path, ": ", counts.first, " questions of the split ", split,
                                     ", ", counts.second, " of them closed"));
  Index shared = 0;
  for (const std::string& image : test) shared += static_cast<Index>(train.count(image));
  if (shared > 0)
    questions.notes.push_back(concat(questions.path, ": ", shared, " of the ", test.size(),
                                     " images of test questions are images of training questions, too"));
}

/// Adds notes about the questions that were left out and those that were read. Throws if none is left.
inline void finish(Questions& questions) {
  if (!questions.missing.empty())
    questions.notes.push_back(concat(questions.path, ": ", questions.without_image,
                                     " questions are left out, for ", questions.missing.size(),
                                     " image files are missing, the first is ",
                                     questions.missing.front().string()));
  ensure(!questions.entries.empty(), questions.path, ": no question about an image (",
         count_bad(questions.files) > 0 ? describe(questions.files)
         : questions.notes.empty()      ? "the files list none"
                                        : questions.notes.front(),
         ")");
  note_splits(questions);
}

}  // namespace detail

}  // namespace vlp::data
