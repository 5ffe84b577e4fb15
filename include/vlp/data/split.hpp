/// \file
/// Which pairs of a table belong together, and which of them are held out.
#pragma once

#include <sys/stat.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/detail/disjoint_sets.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/report_table.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data {

/// The images and the groups that the pairs of a table belong to.
struct PairGroups {
  std::vector<std::int64_t> image;  ///< [N] number of the image: equal for pairs of one image file
  std::vector<std::size_t> group;   ///< [N] the first pair of the group: pairs that belong together
  std::vector<std::string> notes;   ///< sentences for the user
};

namespace detail {

/// A text that is equal for all paths to one file: spelt otherwise, through symbolic links, or hard links.
inline std::string file_identity(const io::Path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && status.st_nlink > 1)
    return concat("inode ", status.st_dev, ":", status.st_ino);
  std::error_code failed;
  const io::Path canonical = std::filesystem::canonical(path, failed);
  return failed ? path.lexically_normal().string() : canonical.string();
}

/// Makes one set of all pairs that have the same name, which is not empty.
class UniteByName {
 public:
  explicit UniteByName(DisjointSets& sets) : sets_(sets) {}
  void operator()(std::size_t pair, const std::string& name) {
    if (!name.empty()) sets_.unite(first_.emplace(name, pair).first->second, pair);
  }

 private:
  DisjointSets& sets_;
  std::unordered_map<std::string, std::size_t> first_;
};

/// Makes one set of the pairs of each study. A study named by pairs of several patients is no study but a
/// number within each patient ("study 1"); then only its pairs without a patient are united. Returns how many
/// such names there are.
inline Index unite_studies(const std::vector<io::ReportImagePair>& pairs, DisjointSets& sets) {
  struct Study {
    std::string patient;
    bool is_shared = false;
  };
  std::unordered_map<std::string, Study> studies;
  for (const io::ReportImagePair& pair : pairs) {
    if (pair.study.empty() || pair.patient.empty()) continue;
    Study& study = studies.try_emplace(pair.study, Study{pair.patient}).first->second;
    study.is_shared |= study.patient != pair.patient;
  }
  UniteByName unite(sets);
  Index shared = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto study = studies.find(pairs[i].study);
    if (study == studies.end() || !study->second.is_shared || pairs[i].patient.empty())
      unite(i, pairs[i].study);
  }
  for (const auto& [name, study] : studies) shared += study.is_shared;
  return shared;
}

/// Whether the table's split says that the pair is trained on.
inline bool is_train(std::string_view split) {
  constexpr std::string_view train = "train";
  split = trimmed(split);
  return std::equal(split.begin(), split.end(), train.begin(), train.end(),
                    [](char a, char b) { return (a | 0x20) == b; });
}

inline bool has_splits(const std::vector<io::ReportImagePair>& pairs) {
  return std::any_of(pairs.begin(), pairs.end(), [](const auto& pair) { return !pair.split.empty(); });
}

/// "train 80; held out: test 10, valid 10": the values of the table's split with their counts.
inline std::string count_splits(const std::vector<io::ReportImagePair>& pairs) {
  constexpr std::size_t most = 20;
  std::map<std::string, Index> train, held_out;
  for (const io::ReportImagePair& pair : pairs)
    if (!pair.split.empty()) ++(is_train(pair.split) ? train : held_out)[pair.split];
  const auto listed = [](const std::map<std::string, Index>& values) {
    std::string text;
    std::size_t named = 0;
    for (auto value = values.begin(); value != values.end() && named < most; ++value, ++named)
      text += concat(named == 0 ? "" : ", ", io::detail::shown(value->first), " ", value->second);
    if (named < values.size()) text += concat(" and ", values.size() - named, " other values");
    return text.empty() ? "none" : text;
  };
  return "to train on: " + listed(train) + "; held out: " + listed(held_out);
}

}  // namespace detail

/// Finds pairs that belong together: those of one image file, whatever path names it, of one group, of one
/// patient and of one study, and those that are linked through others. A study is taken for a number within
/// its patient where several patients have it.
[[nodiscard]] inline PairGroups group_pairs(const io::ReportTable& table, StopToken stop = {}) {
  const std::vector<io::ReportImagePair>& pairs = table.pairs;
  PairGroups out;
  detail::DisjointSets sets(pairs.size());
  std::unordered_map<std::string, std::pair<std::int64_t, Index>> images;  // number and pairs of each file
  detail::UniteByName by_group(sets), by_patient(sets);
  std::vector<std::size_t> first_of_image;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    stop.check();
    by_group(i, pairs[i].group);
    by_patient(i, pairs[i].patient);
    auto& [number, count] = images
                                .try_emplace(detail::file_identity(pairs[i].image),
                                             static_cast<std::int64_t>(first_of_image.size()), 0)
                                .first->second;
    if (++count == 1) first_of_image.push_back(i);
    out.image.push_back(number);
    sets.unite(first_of_image[static_cast<std::size_t>(number)], i);
  }
  const Index shared_studies = detail::unite_studies(pairs, sets);
  Index groups = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    out.group.push_back(sets.find(i));
    groups += out.group.back() == i;
  }
  if (first_of_image.size() < pairs.size())
    out.notes.push_back(concat(table.path, ": ", pairs.size(), " pairs show ", first_of_image.size(),
                               " different images; all reports of an image are right for it, and its pairs "
                               "stay on one side of the split"));
  if (shared_studies > 0)
    out.notes.push_back(concat(table.path,
                               ": names of studies that several patients have, taken for numbers "
                               "within a patient: ",
                               shared_studies));
  if (groups < static_cast<Index>(first_of_image.size()))
    out.notes.push_back(concat(table.path, ": ", groups,
                               " groups of pairs that share an image, a patient, a study or a group"));
  return out;
}

/// Which pairs are held out.
struct Split {
  std::vector<char> held_out;      ///< [N] 1 for those held out
  std::vector<std::string> fault;  ///< [N] what is wrong with the pair's split; empty if nothing is
  std::vector<std::string> notes;  ///< sentences for the user
};

namespace detail {

/// Takes the table's own split.
inline Split take_split(const io::ReportTable& table, const PairGroups& groups) {
  const std::vector<io::ReportImagePair>& pairs = table.pairs;
  Split split{std::vector<char>(pairs.size()), std::vector<std::string>(pairs.size()), {}};
  std::unordered_map<std::size_t, Index> held_out_line;  // of a group's first pair that is held out
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    split.held_out[i] = !is_train(pairs[i].split);
    if (pairs[i].split.empty())
      split.fault[i] = "no split, though other rows have one";
    else if (split.held_out[i])
      held_out_line.emplace(groups.group[i], pairs[i].line);
  }
  for (std::size_t i = 0; i < pairs.size(); ++i)
    if (const auto found = held_out_line.find(groups.group[i]);
        !split.held_out[i] && found != held_out_line.end())
      split.fault[i] = concat("to train on, though line ", found->second,
                              ", of the same image, patient, study or group, is held out");
  split.notes.push_back(table.path + ": the table's own split, " + count_splits(pairs));
  return split;
}

/// Holds out whole groups, the same ones for every seed, so that runs can be compared.
inline Split draw_split(const io::ReportTable& table, const PairGroups& groups, double share) {
  const std::vector<io::ReportImagePair>& pairs = table.pairs;
  Split split{std::vector<char>(pairs.size()), std::vector<std::string>(pairs.size()), {}};
  // A group's name does not depend on the order of rows where patients, studies or groups have names.
  const auto name_of = [](const io::ReportImagePair& pair) {
    return !pair.patient.empty() ? pair.patient
           : !pair.study.empty() ? pair.study
           : !pair.group.empty() ? pair.group
                                 : "line " + std::to_string(pair.line);
  };
  struct Group {
    std::string name;
    std::vector<std::size_t> members;
  };
  std::unordered_map<std::size_t, Group> named;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    Group& group = named[groups.group[i]];
    std::string name = name_of(pairs[i]);
    if (group.members.empty() || name < group.name) group.name = std::move(name);
    group.members.push_back(i);
  }
  std::vector<const Group*> order;
  for (const auto& [first, group] : named) order.push_back(&group);
  std::sort(order.begin(), order.end(), [&](const Group* a, const Group* b) {
    return std::tie(a->name, a->members.front()) < std::tie(b->name, b->members.front());
  });
  Random(0, 0x5911).shuffle(order.begin(), order.end());
  const auto wanted =
      static_cast<std::size_t>(std::max(1.0, std::round(share * static_cast<double>(pairs.size()))));
  std::size_t taken = 0, groups_taken = 0;
  const auto take = [&](const Group& group) {
    for (const std::size_t i : group.members) split.held_out[i] = 1;
    taken += group.members.size();
    ++groups_taken;
  };
  // A group that is far too large, of one image in half of the rows, say, is passed over.
  for (const Group* group : order)
    if (taken < wanted && taken + group->members.size() <= 2 * wanted && groups_taken + 1 < order.size())
      take(*group);
  if (taken == 0 && order.size() > 1)
    take(**std::min_element(order.begin(), order.end(), [](const Group* a, const Group* b) {
      return a->members.size() < b->members.size();
    }));
  return split;
}

}  // namespace detail

/// Says for each pair whether it is held out. Where the table has splits, pairs whose split is not "train",
/// in capitals or not, are; a pair without a split, and one to train on of whose group another is held out,
/// are faults. Else whole groups are drawn, until `share` of the pairs are held out; a group with which more
/// than twice as many would be is passed over, unless there is no smaller one.
[[nodiscard]] inline Split choose_held_out(const io::ReportTable& table, const PairGroups& groups,
                                           double share) {
  return detail::has_splits(table.pairs) ? detail::take_split(table, groups)
                                         : detail::draw_split(table, groups, share);
}

}  // namespace vlp::data
