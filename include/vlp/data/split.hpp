/// \file
/// Which entries of a table belong together, and which of them are held out.
#pragma once

#include <sys/stat.h>

#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/detail/disjoint_sets.hpp>
#include <vlp/io/file.hpp>

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

/// The images and the groups that the entries of a table belong to.
struct EntryGroups {
  std::vector<std::int64_t> image;  ///< [N] number of the image: equal for entries of one image file
  std::vector<std::size_t> group;   ///< [N] the first entry of the group: entries that belong together
  std::vector<std::string> notes;   ///< sentences for the user
};

namespace detail {

/// Finds a text that is equal for all paths to one file: spelt otherwise, through symbolic links, or hard
/// links. Folders are looked at once, so that a file costs one question to the system.
class FileIdentity {
 public:
  [[nodiscard]] std::string operator()(const io::Path& path) {
    const std::string& text = path.native();
    const std::size_t slash = text.rfind('/');
    struct stat status {};
    const bool is_known =
        is_plain_name(text, slash) && ::lstat(text.c_str(), &status) == 0 && !S_ISLNK(status.st_mode);
    if (is_known && status.st_nlink == 1) return folder(text.substr(0, slash)) + text.substr(slash);
    if ((is_known || ::stat(text.c_str(), &status) == 0) && status.st_nlink > 1)
      return concat("inode ", status.st_dev, ":", status.st_ino);
    return canonical(path);
  }

 private:
  /// Whether a path ends in the name of an entry of the folder before it.
  static bool is_plain_name(std::string_view path, std::size_t slash) {
    if (slash == std::string_view::npos) return false;
    const std::string_view name = path.substr(slash + 1);
    return !name.empty() && name != "." && name != "..";
  }
  static std::string canonical(const io::Path& path) {
    std::error_code failed;
    const io::Path found = std::filesystem::canonical(path, failed);
    return failed ? path.lexically_normal().string() : found.string();
  }

  /// The canonical path of a folder, without a slash at its end.
  std::string folder(const std::string& path) {
    if (path.empty()) return {};  // the root
    const auto [found, is_new] = folders_.try_emplace(path);
    if (!is_new) return found->second;
    const std::size_t slash = path.rfind('/');
    struct stat status {};
    std::string text;
    if (is_plain_name(path, slash) && ::lstat(path.c_str(), &status) == 0 && !S_ISLNK(status.st_mode))
      text = folder(path.substr(0, slash)) + path.substr(slash);
    else if ((text = canonical(path)) == "/")
      text.clear();
    return folders_.at(path) = std::move(text);
  }

  std::unordered_map<std::string, std::string> folders_;
};

/// Makes one set of all entries that have the same name, which is not empty.
class UniteByName {
 public:
  explicit UniteByName(DisjointSets& sets) : sets_(sets) {}
  void operator()(std::size_t entry, const std::string& name) {
    if (!name.empty()) sets_.unite(first_.try_emplace(name, entry).first->second, entry);
  }

 private:
  DisjointSets& sets_;
  std::unordered_map<std::string, std::size_t> first_;
};

/// Makes one set of the entries of each study. A study named by entries of several patients is no study but a
/// number within each patient ("study 1"); then only its entries without a patient are united. Returns how
/// many such names there are.
inline Index unite_studies(const std::vector<Entry>& entries, DisjointSets& sets) {
  struct Study {
    std::string patient;
    bool is_shared = false;
  };
  std::unordered_map<std::string, Study> studies;
  for (const Entry& entry : entries) {
    if (entry.study.empty() || entry.patient.empty()) continue;
    Study& study = studies.try_emplace(entry.study, Study{entry.patient}).first->second;
    study.is_shared |= study.patient != entry.patient;
  }
  UniteByName unite(sets);
  Index shared = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto study = studies.find(entries[i].study);
    if (study == studies.end() || !study->second.is_shared || entries[i].patient.empty())
      unite(i, entries[i].study);
  }
  for (const auto& [name, study] : studies) shared += study.is_shared;
  return shared;
}

/// Whether the table's split says that the entry is trained on.
inline bool is_train(std::string_view split) {
  constexpr std::string_view train = "train";
  split = trimmed(split);
  return std::equal(split.begin(), split.end(), train.begin(), train.end(),
                    [](char a, char b) { return (a | 0x20) == b; });
}

inline bool has_splits(const std::vector<Entry>& entries) {
  return std::any_of(entries.begin(), entries.end(), [](const auto& entry) { return !entry.split.empty(); });
}

/// "train 80; held out: test 10, valid 10": the values of the table's split with their counts.
inline std::string count_splits(const std::vector<Entry>& entries) {
  std::map<std::string, Index> train, held_out;
  for (const Entry& entry : entries)
    if (!entry.split.empty()) ++(is_train(entry.split) ? train : held_out)[entry.split];
  const auto listed = [](const std::map<std::string, Index>& values) {
    return values.empty() ? "none" : list_counts(values);
  };
  return "to train on: " + listed(train) + "; held out: " + listed(held_out);
}

}  // namespace detail

/// Finds entries that belong together: those of one image file, whatever path names it, of one group, of one
/// patient and of one study, and those that are linked through others. A study is taken for a number within
/// its patient where several patients have it.
[[nodiscard]] inline EntryGroups group_entries(const Collection& collection, StopToken stop = {}) {
  const std::vector<Entry>& entries = collection.entries;
  EntryGroups out;
  detail::DisjointSets sets(entries.size());
  std::unordered_map<std::string, std::pair<std::int64_t, Index>> images;  // number and entries of each file
  detail::UniteByName by_group(sets), by_patient(sets);
  detail::FileIdentity identity;
  std::vector<std::size_t> first_of_image;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    stop.check();
    by_group(i, entries[i].group);
    by_patient(i, entries[i].patient);
    auto& [number, count] =
        images.try_emplace(identity(entries[i].image), static_cast<std::int64_t>(first_of_image.size()), 0)
            .first->second;
    if (++count == 1) first_of_image.push_back(i);
    out.image.push_back(number);
    sets.unite(first_of_image[static_cast<std::size_t>(number)], i);
  }
  const Index shared_studies = detail::unite_studies(entries, sets);
  Index groups = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    out.group.push_back(sets.find(i));
    groups += out.group.back() == i;
  }
  if (first_of_image.size() < entries.size())
    out.notes.push_back(concat(collection.path, ": ", entries.size(), " pairs show ", first_of_image.size(),
                               " different images; all reports of an image are right for it, and its pairs "
                               "stay on one side of the split"));
  if (shared_studies > 0)
    out.notes.push_back(concat(collection.path,
                               ": names of studies that several patients have, taken for numbers "
                               "within a patient: ",
                               shared_studies));
  if (groups < static_cast<Index>(first_of_image.size()))
    out.notes.push_back(concat(collection.path, ": ", groups,
                               " groups of pairs that share an image, a patient, a study or a group"));
  return out;
}

/// Which entries are held out.
struct Split {
  std::vector<char> held_out;      ///< [N] 1 for those held out
  std::vector<std::string> fault;  ///< [N] what is wrong with the entry's split; empty if nothing is
  std::vector<std::string> notes;  ///< sentences for the user
};

namespace detail {

/// Takes the table's own split.
inline Split take_split(const Collection& collection, const EntryGroups& groups) {
  const std::vector<Entry>& entries = collection.entries;
  Split split{std::vector<char>(entries.size()), std::vector<std::string>(entries.size()), {}};
  std::unordered_map<std::size_t, std::size_t> held_out;  // a group's first entry that is held out
  for (std::size_t i = 0; i < entries.size(); ++i) {
    split.held_out[i] = !is_train(entries[i].split);
    if (entries[i].split.empty())
      split.fault[i] = "no split, though other rows have one";
    else if (split.held_out[i])
      held_out.emplace(groups.group[i], i);
  }
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (const auto found = held_out.find(groups.group[i]); !split.held_out[i] && found != held_out.end()) {
      const Entry& other = entries[found->second];
      split.fault[i] = concat("to train on, though line ", other.line,
                              other.table == entries[i].table ? "" : " of " + other.table,
                              ", of the same image, patient, study or group, is held out");
    }
  split.notes.push_back(collection.path + ": the table's own split, " + count_splits(entries));
  return split;
}

/// Holds out whole groups, the same ones for every seed, so that runs can be compared.
inline Split draw_split(const Collection& collection, const EntryGroups& groups, double share) {
  const std::vector<Entry>& entries = collection.entries;
  Split split{std::vector<char>(entries.size()), std::vector<std::string>(entries.size()), {}};
  // A group's name does not depend on the order of rows where patients, studies or groups have names.
  const auto name_of = [](const Entry& entry) {
    return !entry.patient.empty() ? entry.patient
           : !entry.study.empty() ? entry.study
           : !entry.group.empty() ? entry.group
                                  : "line " + std::to_string(entry.line);
  };
  struct Group {
    std::string name;
    std::vector<std::size_t> members;
  };
  std::unordered_map<std::size_t, Group> named;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    Group& group = named[groups.group[i]];
    std::string name = name_of(entries[i]);
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
      static_cast<std::size_t>(std::max(1.0, std::round(share * static_cast<double>(entries.size()))));
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

/// Says for each entry whether it is held out. Where the table has splits, entries whose split is not
/// "train", in capitals or not, are; an entry without a split, and one to train on of whose group another is
/// held out, are faults. Else whole groups are drawn, until `share` of the entries are held out; a group with
/// which more than twice as many would be is passed over, unless there is no smaller one.
[[nodiscard]] inline Split choose_held_out(const Collection& collection, const EntryGroups& groups,
                                           double share) {
  return detail::has_splits(collection.entries) ? detail::take_split(collection, groups)
                                                : detail::draw_split(collection, groups, share);
}

}  // namespace vlp::data
