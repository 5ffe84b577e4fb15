/// \file
/// Options and report of read_parameters: rules that match the names of a file with those of a model.
#pragma once

#include <string>
#include <vector>

namespace vlp::io {

/// Gives names of a file another beginning: a name that equals `from`, or continues it after a dot, begins
/// with `to` instead. {"bert.embeddings", "text.embedding"} renames "bert.embeddings.norm" but not
/// "bert.embeddings2". An empty `from` begins every name; an empty `to` removes the beginning with its dot.
struct RenameRule {
  std::string from;
  std::string to;
};

/// Makes one parameter of several tensors, whose rows (the first dimension) follow one another, e.g. the
/// query, key and value weights that other libraries keep apart.
struct JoinRule {
  std::string to;                  ///< the model's name
  std::vector<std::string> parts;  ///< names of the file, as the rename rules leave them, from the top down
};

/// Says what becomes of a file that does not fit the model exactly.
enum class ReadPolicy {
  exact,     ///< an error that names everything that does not fit
  what_fits  ///< a report of it; an error only if nothing fits
};

/// Options of read_parameters. The defaults read every parameter by its own name, and nothing else may be in
/// the file.
struct ReadParametersOptions {
  /// If several rules match a name, the one with the longest `from` renames it, once. The order of rules has
  /// no meaning, and a rule that matches nothing does no harm.
  std::vector<RenameRule> rename = {};
  /// Parameters that are made of several tensors. No tensor is part of two of them.
  std::vector<JoinRule> join = {};
  /// Beginnings of the model's names (whole, or up to a dot) to be read; none means all. Everything else in
  /// the model and, by its new name, in the file is left alone.
  std::vector<std::string> subset = {};
  /// Beginnings of the file's own names (whole, or up to a dot) that are skipped, e.g. "optimiser".
  std::vector<std::string> ignore = {};
  ReadPolicy policy = ReadPolicy::exact;
};

/// A parameter whose tensor in the file has another shape, or a type that its scalar does not hold.
struct Misfit {
  std::string name;      ///< the model's
  std::string in_file;   ///< type and shape, e.g. "F32 [128, 64]"; those of all parts where parts are joined
  std::string in_model;  ///< likewise
  bool operator==(const Misfit&) const = default;
};

/// An account of what read_parameters did.
struct ReadParametersReport {
  std::vector<std::string> read;     ///< the model's names, in the model's order
  std::vector<std::string> missing;  ///< names of the model that the file does not have, in the model's order
  std::vector<std::string> extra;    ///< names of the file that the model does not have, sorted
  std::vector<Misfit> misfits;       ///< in the model's order
};

}  // namespace vlp::io
