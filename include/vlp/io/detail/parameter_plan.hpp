/// \file
/// The matching of a model's parameters with the tensors of files, behind read_parameters.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/safetensors_header.hpp>
#include <vlp/io/detail/weight_files.hpp>
#include <vlp/io/parameter_rules.hpp>
#include <vlp/io/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::io::detail {

/// Whether `name` is `beginning`, or continues it after a dot.
[[nodiscard]] inline bool begins_with(std::string_view name, std::string_view beginning) {
  return beginning.empty() || name == beginning ||
         (name.size() > beginning.size() && name.starts_with(beginning) && name[beginning.size()] == '.');
}

[[nodiscard]] inline bool begins_with_any(std::string_view name, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const std::string& beginning) { return begins_with(name, beginning); });
}

/// The name that the rules give to `name`.
[[nodiscard]] inline std::string renamed(const std::string& name, const std::vector<RenameRule>& rules) {
  const RenameRule* best = nullptr;
  for (const RenameRule& rule : rules)
    if (begins_with(name, rule.from) && (best == nullptr || rule.from.size() > best->from.size()))
      best = &rule;
  if (best == nullptr) return name;
  std::string_view rest = std::string_view(name).substr(best->from.size());
  if (!best->from.empty() && !rest.empty()) rest.remove_prefix(1);  // the dot
  if (rest.empty() || best->to.empty()) return best->to + std::string(rest);
  return concat(best->to, ".", rest);
}

/// A parameter of the model: its name and extents.
struct Target {
  std::string name;
  std::vector<Index> extents;
};

/// The tensors of the file that make one parameter.
struct Reading {
  std::size_t target;              ///< its number among the targets
  std::vector<std::string> parts;  ///< the file's names, in the order of their values
};

struct ReadingPlan {
  std::vector<Reading> readings;
  ReadParametersReport report;
};

/// Throws std::invalid_argument for rules that contradict one another or name no parameter.
inline void check_options(const std::vector<Target>& targets, const ReadParametersOptions& options) {
  std::set<std::string_view> names;
  for (const Target& target : targets)
    require(names.insert(target.name).second, "read_parameters: the list has two parameters '", target.name,
            "'");
  for (const std::string& beginning : options.subset)
    require(std::any_of(targets.begin(), targets.end(),
                        [&](const Target& target) { return begins_with(target.name, beginning); }),
            "read_parameters: no parameter of the model begins with '", beginning, "' of the subset");
  std::set<std::string_view> from, to, parts;
  for (const RenameRule& rule : options.rename)
    require(from.insert(rule.from).second, "read_parameters: two rules rename '", rule.from, "'");
  for (const JoinRule& rule : options.join) {
    require(!rule.parts.empty(), "read_parameters: the rule that joins '", rule.to, "' has no parts");
    require(to.insert(rule.to).second, "read_parameters: two rules join '", rule.to, "'");
    for (const std::string& part : rule.parts)
      require(parts.insert(part).second, "read_parameters: '", part, "' is part of two joined parameters");
  }
}

/// For each name of a parameter, the file's names of the tensors that make it; "" where a part is absent.
using Sources = std::map<std::string, std::vector<std::string>>;

inline Sources find_sources(const WeightFiles& files, const ReadParametersOptions& options) {
  std::map<std::string_view, std::pair<const JoinRule*, std::size_t>> rule_of_part;
  for (const JoinRule& rule : options.join)
    for (std::size_t p = 0; p < rule.parts.size(); ++p) rule_of_part[rule.parts[p]] = {&rule, p};
  Sources sources;
  for (const std::string& name : files.names()) {
    if (begins_with_any(name, options.ignore)) continue;
    std::string to = renamed(name, options.rename);
    std::size_t count = 1, slot = 0;
    if (const auto part = rule_of_part.find(to); part != rule_of_part.end()) {
      count = part->second.first->parts.size();
      slot = part->second.second;
      to = part->second.first->to;
    }
    auto& slots = sources[to];
    if (slots.empty()) slots.resize(count);
    if (slots.size() != count || !slots[slot].empty()) {
      const auto is_taken = [](const std::string& source) { return !source.empty(); };
      const auto first = slots.begin() + static_cast<std::ptrdiff_t>(slots.size() == count ? slot : 0);
      ensure(false, files.path(), ": both '", *std::find_if(first, slots.end(), is_taken), "' and '", name,
             "' become '", to, "'");
    }
    slots[slot] = name;
  }
  return sources;
}

/// The shape of the parts one below the other; nothing ({-1}) where they do not go together.
[[nodiscard]] inline std::vector<Index> joined_shape(const WeightFiles& files,
                                                     const std::vector<std::string>& parts) {
  std::vector<Index> shape = files.file_of(parts[0]).shape(parts[0]);
  for (std::size_t p = 1; p < parts.size(); ++p) {
    const std::vector<Index>& next = files.file_of(parts[p]).shape(parts[p]);
    if (shape.empty() || next.size() != shape.size() ||
        !std::equal(shape.begin() + 1, shape.end(), next.begin() + 1) ||
        shape[0] > std::numeric_limits<Index>::max() - next[0])
      return {-1};
    shape[0] += next[0];
  }
  return shape;
}

/// Type and shape of all parts, for a message.
[[nodiscard]] inline std::string description(const WeightFiles& files,
                                             const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) {
    const SafeTensors& file = files.file_of(part);
    out += concat(out.empty() ? "" : " and ", file.dtype(part), " ", text_of(file.shape(part)));
  }
  return out;
}

/// Decides what is read from where. Reads and writes no values.
template <class Scalar>
[[nodiscard]] ReadingPlan plan_reading(const WeightFiles& files, const std::vector<Target>& targets,
                                       const ReadParametersOptions& options) {
  check_options(targets, options);
  const Sources sources = find_sources(files, options);
  const auto is_wanted = [&](const std::string& name) {
    return options.subset.empty() || begins_with_any(name, options.subset);
  };
  ReadingPlan plan;
  std::set<std::string_view> known;
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const auto& [name, extents] = targets[t];
    known.insert(name);
    if (!is_wanted(name)) continue;
    const auto found = sources.find(name);
    if (found == sources.end() || std::count(found->second.begin(), found->second.end(), "") > 0) {
      plan.report.missing.push_back(name);
      continue;
    }
    const std::vector<std::string>& parts = found->second;
    const bool is_held = std::all_of(parts.begin(), parts.end(), [&](const std::string& part) {
      return holds_values_of<Scalar>(files.file_of(part).type(part));
    });
    if (is_held && joined_shape(files, parts) == extents) {
      plan.readings.push_back({t, parts});
      plan.report.read.push_back(name);
    } else {
      plan.report.misfits.push_back(
          {name, description(files, parts), concat(type_name(tensor_type<Scalar>()), " ", text_of(extents))});
    }
  }
  for (const auto& [name, parts] : sources)
    if (!known.contains(name) && is_wanted(name))
      for (const std::string& part : parts)
        if (!part.empty()) plan.report.extra.push_back(part);
  std::sort(plan.report.extra.begin(), plan.report.extra.end());
  return plan;
}

/// "2 parameters are not in the file (a, b)", of at most ten names; "" for none.
[[nodiscard]] inline std::string account(const std::vector<std::string>& names, std::string_view one,
                                         std::string_view many) {
  constexpr std::size_t most = 10;
  if (names.empty()) return {};
  std::string out = concat(names.size(), " ", names.size() == 1 ? one : many, " (");
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > most) out += concat(" and ", names.size() - most, " more");
  return out + ")";
}

/// One sentence that says all that does not fit; "" if all fits.
[[nodiscard]] inline std::string complaint(const ReadParametersReport& report) {
  std::vector<std::string> misfits;
  for (const Misfit& misfit : report.misfits)
    misfits.push_back(concat(misfit.name, ": ", misfit.in_file, " for ", misfit.in_model));
  std::string out;
  for (const std::string& part :
       {account(report.missing, "parameter is not in the file", "parameters are not in the file"),
        account(report.extra, "tensor is not in the model", "tensors are not in the model"),
        account(misfits, "has another shape or type", "have another shape or type")})
    if (!part.empty()) out += (out.empty() ? "" : "; ") + part;
  return out;
}

}  // namespace vlp::io::detail
