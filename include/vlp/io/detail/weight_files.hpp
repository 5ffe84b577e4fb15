/// \file
/// Tensors by name, from one safetensors file or from the shards that an index lists.
#pragma once

#include <nlohmann/json.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/json.hpp>
#include <vlp/io/safetensors.hpp>

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace vlp::io::detail {

/// The tensors of a safetensors file, or of all the files that an index ("*.index.json", as Hugging Face
/// writes it beside the shards of a large model) names, in memory.
class WeightFiles {
 public:
  /// Throws std::runtime_error, naming the file, where one cannot be read, an index is malformed or names a
  /// file in another folder, or a tensor is not in the shard that the index says.
  explicit WeightFiles(const Path& path) : path_(path.string()) {
    if (path_.ends_with(".index.json")) {
      read_index(path);
    } else {
      files_.emplace_back(path);
      for (const std::string& name : files_[0].names()) file_of_[name] = 0;
    }
  }

  /// The path that was given, with which messages begin.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Names of the tensors, sorted.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, file] : file_of_) out.push_back(name);
    return out;
  }

  /// The file that holds the tensor `name`, which must be one of names().
  [[nodiscard]] const SafeTensors& file_of(const std::string& name) const {
    return files_[file_of_.at(name)];
  }

 private:
  void read_index(const Path& path) {
    const nlohmann::json json = parse_json(read_file(path), path_);
    const auto* map = json.is_object() && json.contains("weight_map") ? &json["weight_map"] : nullptr;
    ensure(map != nullptr && map->is_object(), path_, ": not an index of shards: no JSON with a weight_map");
    std::map<std::string, std::size_t> numbers;
    for (const auto& [tensor, shard] : map->items()) {
      ensure(shard.is_string(), path_, ": the shard of tensor '", tensor, "' is no file name");
      const auto& name = shard.get_ref<const std::string&>();
      // An index comes from strangers: it may name its neighbours and nothing else.
      ensure(!name.empty() && Path(name).filename() == Path(name) && name != "." && name != "..", path_,
             ": the shard '", name, "' of tensor '", tensor, "' is not a file beside the index");
      const auto [at, is_new] = numbers.try_emplace(name, files_.size());
      if (is_new) files_.emplace_back(path.parent_path() / name);
      ensure(files_[at->second].contains(tensor), path_, ": tensor '", tensor, "' is not in its shard '",
             name, "'");
      file_of_[tensor] = at->second;
    }
  }

  std::string path_;
  std::vector<SafeTensors> files_;
  std::map<std::string, std::size_t> file_of_;
};

}  // namespace vlp::io::detail
