/// \file
/// Checkpoints: the parameters, the state of the optimiser and where the run stands, in one safetensors file.
/// Parameters stand under their own names, so io/parameters.hpp reads them into any other model.
#pragma once

#include <vlp/core/build.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/hash.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/data/fingerprint.hpp>
#include <vlp/io/safetensors.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/train/log.hpp>
#include <vlp/train/settings.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace vlp::train {

/// Where a run stands.
struct Progression {
  Index step = 0;                                              ///< steps taken
  double best_loss = std::numeric_limits<double>::infinity();  ///< the lowest held-out loss so far
  Index best_step = 0;         ///< the step after which it was reached; 0: none
  std::string log{};           ///< hash of the rows of log.csv so far
  std::string held_out_log{};  ///< hash of the rows of held_out.csv so far
};

/// All that a checkpoint was made from.
struct Provenance {
  Settings settings;
  data::Fingerprint data;                      ///< of what is learned from
  std::map<std::string, std::string> files{};  ///< hash of each further file of the run folder, by its name
  std::string build = build_text();            ///< the build of the program

  /// Whether a further file of this name was there, with this hash.
  [[nodiscard]] bool has_file(const std::string& name, const std::string& hash) const {
    const auto found = files.find(name);
    return found != files.end() && found->second == hash;
  }
};

/// A checkpoint in memory.
struct Checkpoint {
  io::SafeTensors file;
  Provenance provenance;
  Progression progression;
  std::string contents;  ///< hash of all that the file holds
};

namespace detail {

inline constexpr const char* contents_key = "contents";  // of the metadata: a hash of all else
inline constexpr const char* sizes_key = "data_sizes";   // of the metadata, where images are files
inline constexpr const char* file_prefix = "file:";      // of a file's name, of the metadata
inline constexpr const char* no_loss = "none";

/// Calls visit(name, extents, device memory) for each tensor of a checkpoint, the same for writing and
/// reading.
template <class Scalar, class Device, class Visit>
void for_each_tensor(const ParameterList<Scalar, Device>& parameters, optim::AdamW<Scalar, Device>* optimiser,
                     Visit&& visit) {
  for (const auto& [name, parameter] : parameters) visit(name, parameter->extents(), parameter->value());
  if (optimiser != nullptr)
    optimiser->for_each_state(
        [&](const std::string& name, const std::vector<Index>& extents, VectorView<Scalar> values) {
          visit("optimiser." + name, extents, values);
        });
}

/// Hash of all that a checkpoint holds, in the order of names.
inline std::string contents_hash(std::vector<io::TensorRef> tensors, const io::Metadata& metadata) {
  std::ranges::sort(tensors, {}, &io::TensorRef::name);
  Hash hash;
  for (const auto& [name, text] : metadata) {
    if (name == contents_key) continue;
    hash.add(name);
    hash.add(text);
  }
  for (const io::TensorRef& tensor : tensors) {
    hash.add(tensor.name);
    hash.add(static_cast<std::uint64_t>(tensor.type));
    hash.add(std::span<const Index>(tensor.shape));
    hash.add(tensor.bytes);
  }
  return hash.text();
}

inline std::string contents_hash(const io::SafeTensors& file) {
  std::vector<io::TensorRef> tensors;
  for (const std::string& name : file.names())
    tensors.push_back({name, file.type(name), file.shape(name), file.bytes(name)});
  return contents_hash(std::move(tensors), file.metadata());
}

/// A number of the metadata, which must be nothing else and lie in [low, high].
template <class Number>
Number metadata_number(const io::SafeTensors& file, const char* key, Number low, Number high) {
  const std::string& text = file.metadata(key);
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  ensure(error == std::errc() && end == text.data() + text.size() && value >= low && value <= high,
         file.path(), ": its ", key, " must be a number from ", low, " to ", high, ", but is ", shown(text));
  return value;
}

inline Progression read_progression(const io::SafeTensors& file, Index total_steps) {
  constexpr double largest = std::numeric_limits<double>::max();
  Progression progression;
  progression.step = metadata_number<Index>(file, "step", 0, total_steps);
  progression.best_step = metadata_number<Index>(file, "best_step", 0, progression.step);
  const bool none = file.metadata("best_loss") == no_loss;
  if (!none) progression.best_loss = metadata_number(file, "best_loss", -largest, largest);
  ensure(none == (progression.best_step == 0), file.path(), ": its best_loss is ",
         shown(file.metadata("best_loss")), " at best_step ", progression.best_step);
  progression.log = file.metadata("log");
  progression.held_out_log = file.metadata("held_out_log");
  return progression;
}

template <class Scalar>
bool all_finite(std::span<const Scalar> values) {
  return std::ranges::all_of(values, [](Scalar value) { return std::isfinite(value); });
}

/// Throws std::runtime_error unless the data are those that the checkpoint was made from. Returns a sentence
/// for the user where another build computes with them, or nothing.
inline std::string compare_data(const Checkpoint& checkpoint, const Provenance& now) {
  const Provenance& saved = checkpoint.provenance;
  // Where images are decoded later, by the run that was saved or by this one, the sizes of their files count.
  const bool by_sizes = saved.data.values.empty() || now.data.values.empty();
  const bool same_build = saved.build == now.build;
  const bool same_values = by_sizes ? !now.data.sizes.empty() && saved.data.sizes == now.data.sizes
                                    : saved.data.values == now.data.values;
  const std::string builds = concat("(", saved.build, "; this is ", now.build, ")");
  ensure(same_values || !by_sizes, checkpoint.file.path(),
         ": the data have changed since this run began; start in another folder");
  if (!same_values) {
    const bool same_sources = !now.data.sources.empty() && saved.data.sources == now.data.sources;
    const bool sources_unknown = now.data.sources.empty() && saved.data.sources.empty();
    ensure(same_sources, checkpoint.file.path(),
           ": the data have changed since this run began; start in another folder",
           sources_unknown && !same_build ? ", unless another build has computed them " + builds : "");
    return concat("the run goes on, but not bit for bit: its images, whose files are unchanged, are read ",
                  "otherwise than when it was saved",
                  same_build ? ", perhaps by another version of a library" : " by another build " + builds);
  }
  return same_build
             ? ""
             : concat("the run goes on, but perhaps not bit for bit: it was saved by another build ", builds);
}

}  // namespace detail

/// Writes a checkpoint, atomically. `optimiser` may be null: then it serves evaluation alone. Throws
/// std::runtime_error where the file cannot be written, or where a tensor holds a number that is not finite,
/// and then leaves the file that was there.
template <class Scalar, class Device>
void save_checkpoint(Device& device, const std::string& path, const ParameterList<Scalar, Device>& parameters,
                     optim::AdamW<Scalar, Device>* optimiser, const Provenance& provenance,
                     const Progression& progression) {
  std::vector<io::TensorRef> tensors;
  std::deque<std::vector<Scalar>> memory;
  detail::for_each_tensor(
      parameters, optimiser,
      [&](const std::string& name, const std::vector<Index>& extents, VectorView<Scalar> values) {
        auto& host = memory.emplace_back(static_cast<std::size_t>(values.size()));
        download(device, static_cast<const Scalar*>(values.data()), std::span(host));
        ensure(detail::all_finite(std::span<const Scalar>(host)), path, ": not saved, since '", name,
               "' holds a number that is not finite after step ", progression.step,
               "; a lower lr or clip may help");
        tensors.push_back(io::tensor_ref(name, std::span<const Scalar>(host), extents));
      });
  io::Metadata metadata{
      {"settings", provenance.settings.dump()},
      {"data", provenance.data.values},
      {"data_sources", provenance.data.sources},
      {"build", provenance.build},
      {"step", std::to_string(progression.step)},
      {"best_loss", progression.best_step == 0 ? detail::no_loss : number_text(progression.best_loss)},
      {"best_step", std::to_string(progression.best_step)},
      {"log", progression.log},
      {"held_out_log", progression.held_out_log}};
  if (!provenance.data.sizes.empty()) metadata[detail::sizes_key] = provenance.data.sizes;
  for (const auto& [name, hash] : provenance.files) metadata[detail::file_prefix + name] = hash;
  metadata[detail::contents_key] = detail::contents_hash(tensors, metadata);
  io::write_safetensors(path, tensors, metadata);
}

/// Reads what save_checkpoint wrote, for a run of `total_steps` steps, by default of any length. Throws
/// std::runtime_error, naming the file, when it is missing, is no checkpoint, or has changed in any bit since
/// it was written.
[[nodiscard]] inline Checkpoint read_checkpoint(const std::string& path,
                                                Index total_steps = std::numeric_limits<Index>::max()) {
  Checkpoint checkpoint{io::read_safetensors(path), {}, {}, {}};
  const io::SafeTensors& file = checkpoint.file;
  Provenance& provenance = checkpoint.provenance;
  checkpoint.contents = detail::contents_hash(file);
  ensure(file.metadata(detail::contents_key) == checkpoint.contents, path,
         ": damaged, or changed since it was written");
  provenance.settings = parse_settings(file.metadata("settings"), path);
  provenance.data = {file.metadata("data"), file.metadata("data_sources")};
  if (file.metadata().contains(detail::sizes_key)) provenance.data.sizes = file.metadata(detail::sizes_key);
  provenance.build = file.metadata("build");
  const std::string prefix = detail::file_prefix;
  for (const auto& [name, hash] : file.metadata())
    if (name.starts_with(prefix)) provenance.files[name.substr(prefix.size())] = hash;
  checkpoint.progression = detail::read_progression(file, total_steps);
  return checkpoint;
}

/// Takes over the parameters of a checkpoint and, where training is to go on (`optimiser` is not null), the
/// optimiser's state. Throws std::invalid_argument for a checkpoint of other settings, std::runtime_error for
/// one of another model, with other files beside it (see Provenance) or, where training is to go on, of other
/// data; parameters are changed only when the whole file fits. Data are the same, wherever they lie, when
/// their values or their sources are. Returns a sentence for the user where another build goes on with the
/// run, or nothing.
template <class Scalar, class Device>
std::string load_checkpoint(Device& device, const Checkpoint& checkpoint,
                            const ParameterList<Scalar, Device>& parameters,
                            optim::AdamW<Scalar, Device>* optimiser, const Provenance& provenance) {
  const io::SafeTensors& file = checkpoint.file;
  require_same_settings(provenance.settings, checkpoint.provenance.settings, file.path());
  for (const auto& [name, hash] : provenance.files)
    ensure(checkpoint.provenance.has_file(name, hash), file.path(), ": made with another ", name,
           " than the one in its folder; put that one back, or start in another folder");
  const std::string note = optimiser == nullptr ? "" : detail::compare_data(checkpoint, provenance);
  std::deque<std::vector<Scalar>> hosts;
  detail::for_each_tensor(
      parameters, optimiser,
      [&](const std::string& name, const std::vector<Index>& extents, VectorView<Scalar>) {
        ensure(file.shape(name) == extents, file.path(), ": tensor '", name,
               "' has another shape than in this model");
        hosts.push_back(file.values<Scalar>(name));
        ensure(detail::all_finite(std::span<const Scalar>(hosts.back())), file.path(), ": tensor '", name,
               "' holds a number that is not finite");
      });
  detail::for_each_tensor(parameters, optimiser,
                          [&](const std::string&, const std::vector<Index>&, VectorView<Scalar> values) {
                            upload(device, std::span<const Scalar>(hosts.front()), values.data());
                            hosts.pop_front();
                          });
  if (optimiser != nullptr) optimiser->set_steps(checkpoint.progression.step);
  return note;
}

}  // namespace vlp::train
