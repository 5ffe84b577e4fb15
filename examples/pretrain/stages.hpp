/// \file
/// The two stages of a hybrid run in one folder: RUN/stage1 holds the first stage's logs and checkpoints, RUN
/// itself the second's. The second starts from RUN/stage1/best.safetensors, which is trained there or copied.
#pragma once

#include "pretrain/run.hpp"
#include "pretrain/run_files.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/io/safetensors.hpp>
#include <vlp/tasks/hybrid_options.hpp>
#include <vlp/tasks/pair_options.hpp>
#include <vlp/train/checkpoint.hpp>
#include <vlp/train/settings.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace vlp::pretrain {

/// A checkpoint of the first stage for the second one to start from; without a path, there is none.
struct Summariser {
  io::Path path;
  std::string contents;  ///< hash of all that it holds
};

namespace detail {

/// The settings that a summariser shares with the run that uses it, although no shape of a tensor shows some
/// of them: those of the text encoder and of the decoder.
inline train::Settings summariser_settings(const train::Settings& settings) {
  train::Settings some;
  for (const char* name :
       {"width", "heads", "text-blocks", "word-layers", "decoder-blocks", "tied-output", "max-words"})
    if (settings.contains(name)) some[name] = settings.at(name);
  return some;
}

/// Makes RUN/stage1, if it is not there.
inline void make_stage_1_folder(const Session& session) {
  const std::string path = session.folder.file(stage_1_folder);
  std::error_code error;
  std::filesystem::create_directories(path, error);
  ensure(!error, "cannot create the folder '", path, "': ", error.message());
}

}  // namespace detail

/// Reads and checks the summariser of a run: that of its own folder, or, where a new run begins with the
/// second stage, the one that --summariser names. Throws std::runtime_error, naming the file and saying what
/// to do, where it is missing, damaged, or made for other word pieces or another text encoder or decoder.
[[nodiscard]] inline Summariser find_summariser(const Session& session) {
  const Options& options = session.options;
  if (options.stage == Stage::second && options.summariser.empty()) return {};
  const bool is_own = options.stage != Stage::second || options.goes_on();
  const std::string path = is_own ? session.folder.file(summariser_file) : options.summariser;
  std::optional<train::Checkpoint> checkpoint;
  try {
    checkpoint = train::read_checkpoint(path);
  } catch (const std::runtime_error& error) {
    if (!is_own) throw;
    ensure(false, error.what(), "; put back the file as it was",
           options.stage == Stage::second ? ", a copy of the one that --summariser named (" +
                                                session.settings.at("summariser").get<std::string>() + ")"
                                          : ", or begin anew in another folder");
  }
  const train::Provenance& made = checkpoint->provenance;
  ensure(made.has_file("vocab.txt", session.pieces), path,
         ": trained with other word pieces than those of this run; name the vocab.txt of its run by "
         "--vocabulary");
  try {
    train::require_same_settings(detail::summariser_settings(session.settings),
                                 detail::summariser_settings(made.settings), path);
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(error.what());
  }
  return {path, checkpoint->contents};
}

/// Copies the summariser of a new run into its folder, so that the run needs no other one. Throws
/// std::runtime_error where it has changed since it was checked.
inline void copy_summariser(const Session& session, const Summariser& summariser) {
  if (summariser.path.empty()) return;
  detail::make_stage_1_folder(session);
  const std::string copy = session.folder.file(summariser_file);
  io::remove_temporaries(session.folder.file(stage_1_folder));  // of an attempt that was killed
  io::write_file(copy, io::read_file(summariser.path));
  ensure(train::read_checkpoint(copy).contents == summariser.contents, summariser.path.string(),
         ": changed while it was copied to ", copy);
}

/// Numbers in those parameters whose names contain `part`.
template <class Scalar, class Device>
[[nodiscard]] Index count_numbers(const ParameterList<Scalar, Device>& list, std::string_view part) {
  Index count = 0;
  for (const auto& [name, parameter] : list)
    if (name.find(part) != std::string::npos) count += parameter->size();
  return count;
}

/// Whether the second stage takes a parameter of this name over from the summariser: all but what the branch
/// of captioning has of its own.
[[nodiscard]] inline bool is_of_summariser(std::string_view name) {
  return name.starts_with("text_encoder.") || tasks::is_shared_by_branches(name);
}

/// Reads --weights into those parameters of a stage whose names are `wanted`, as far as they fit. Returns a
/// sentence for the user.
template <class Task, class Wanted>
[[nodiscard]] std::string read_weights(const Session& session, Task& task, Wanted&& wanted) {
  const std::string& path = session.options.weights;
  const io::SafeTensors file = io::read_safetensors(path);
  io::ReadParametersOptions options{.policy = io::ReadPolicy::what_fits};
  bool some = false;
  for (const auto& [name, parameter] : task.parameters()) {
    if (!wanted(name)) continue;
    options.subset.push_back(name);
    some = some || std::ranges::count(file.names(), name) > 0;
  }
  if (!some) return path + " has no parameter that this stage starts from";
  return text_of(io::read_parameters(session.device, path, task.parameters(), options));
}

}  // namespace vlp::pretrain
