/// \file
/// The header of a safetensors file: its length in 8 bytes, then JSON that gives each tensor's type, shape
/// and place in the bytes that follow.
#pragma once

#include <nlohmann/json.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::io::detail {

enum class TensorType { f32, f64, f16, bf16, i32, i64, u8 };

struct TensorTypeInfo {
  TensorType type;
  std::string_view name;  // in the file
  std::size_t width;      // bytes per element
};
inline constexpr std::array<TensorTypeInfo, 7> tensor_types{{{TensorType::f32, "F32", 4},
                                                             {TensorType::f64, "F64", 8},
                                                             {TensorType::f16, "F16", 2},
                                                             {TensorType::bf16, "BF16", 2},
                                                             {TensorType::i32, "I32", 4},
                                                             {TensorType::i64, "I64", 8},
                                                             {TensorType::u8, "U8", 1}}};

inline std::string_view type_name(TensorType type) {
  return tensor_types[static_cast<std::size_t>(type)].name;
}
inline std::size_t width(TensorType type) {
  return tensor_types[static_cast<std::size_t>(type)].width;
}

inline std::string text_of(const std::vector<Index>& shape) {
  std::string out = "[";
  for (std::size_t d = 0; d < shape.size(); ++d) out += (d == 0 ? "" : ", ") + std::to_string(shape[d]);
  return out + "]";
}

struct TensorEntry {
  std::string name;
  TensorType type = TensorType::f32;
  std::vector<Index> shape;
  std::uint64_t begin = 0;  // in bytes after the header
  std::uint64_t end = 0;
};

struct SafeTensorsHeader {
  std::map<std::string, TensorEntry> tensors;
  std::map<std::string, std::string> metadata;
  std::size_t length = 0;  // where the first tensor begins
};

inline constexpr std::string_view metadata_key = "__metadata__";
inline constexpr std::uint64_t max_safetensors_header = 100'000'000;  // the format's limit

/// The bytes that a tensor of this type and shape has; nothing if 64 bits cannot count them.
inline std::optional<std::uint64_t> byte_size(TensorType type, const std::vector<Index>& shape) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  std::uint64_t size = width(type);
  for (Index extent : shape) {
    if (extent < 0 || size > std::numeric_limits<std::uint64_t>::max() / static_cast<std::uint64_t>(extent))
      return std::nullopt;
    size *= static_cast<std::uint64_t>(extent);
  }
  return size;
}

/// Returns the header's bytes, its length included, padded with spaces so that the tensors begin at a
/// multiple of 8.
inline std::string make_safetensors_header(std::span<const TensorEntry> tensors,
                                           const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json[std::string(metadata_key)] = metadata;
  std::set<std::string_view> names;
  for (const TensorEntry& tensor : tensors) {
    require(tensor.name != metadata_key && names.insert(tensor.name).second, "write_safetensors: a tensor '",
            tensor.name, "' where there is one of that name");
    const auto expected = byte_size(tensor.type, tensor.shape);
    require(expected == tensor.end - tensor.begin, "write_safetensors: tensor '", tensor.name, "' of shape ",
            text_of(tensor.shape), " has ", tensor.end - tensor.begin, " bytes");
    json[tensor.name] = {{"dtype", type_name(tensor.type)},
                         {"shape", tensor.shape},
                         {"data_offsets", {tensor.begin, tensor.end}}};
  }
  std::string text;
  try {
    text = json.dump();
  } catch (const nlohmann::json::exception& error) {
    throw std::invalid_argument(concat("write_safetensors: ", error.what()));
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  require(text.size() <= max_safetensors_header, "write_safetensors: a header of ", text.size(), " bytes");
  const std::uint64_t length = text.size();
  std::string out(sizeof(length), '\0');
  std::memcpy(out.data(), &length, sizeof(length));
  return out + text;
}

/// Parses JSON in which no name occurs twice in the outermost object.
inline nlohmann::json parse_json(std::string_view text, const std::string& path) {
  using Json = nlohmann::json;
  std::set<std::string> names;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1) {
      const auto& name = parsed.get_ref<const std::string&>();
      ensure(names.insert(name).second, path, ": tensor '", name, "' occurs twice");
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const Json::exception& error) {
    throw std::runtime_error(concat(path, ": the safetensors header is no JSON: ", error.what()));
  }
}

/// One tensor's description, checked in itself. `where` begins every message.
inline TensorEntry parse_entry(const std::string& name, const nlohmann::json& json,
                               const std::string& where) {
  TensorEntry entry;
  entry.name = name;
  const auto is_sizes = [&](const char* key) {
    if (!json.is_object() || !json.contains(key) || !json[key].is_array()) return false;
    return std::all_of(json[key].begin(), json[key].end(), [](const nlohmann::json& value) {
      return value.is_number_unsigned() &&
             value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<Index>::max());
    });
  };
  ensure(is_sizes("shape"), where, ": no shape of non-negative sizes");
  ensure(is_sizes("data_offsets") && json["data_offsets"].size() == 2, where, ": no pair of data_offsets");
  ensure(json.contains("dtype") && json["dtype"].is_string(), where, ": no dtype");
  const auto& type = json["dtype"].get_ref<const std::string&>();
  const auto found = std::find_if(tensor_types.begin(), tensor_types.end(),
                                  [&](const TensorTypeInfo& info) { return info.name == type; });
  ensure(found != tensor_types.end(), where, ": dtype '", type,
         "' is not supported (F32, F64, F16, BF16, I32, I64, U8)");
  entry.type = found->type;
  entry.shape = json["shape"].get<std::vector<Index>>();
  entry.begin = json["data_offsets"][0].get<std::uint64_t>();
  entry.end = json["data_offsets"][1].get<std::uint64_t>();
  const auto expected = byte_size(entry.type, entry.shape);
  ensure(entry.begin <= entry.end && expected == entry.end - entry.begin, where, ": data_offsets ",
         entry.begin, " to ", entry.end, " do not fit the shape ", text_of(entry.shape), " of ", type);
  return entry;
}

/// Checks that every byte after the header belongs to exactly one tensor, as the format demands.
inline void check_layout(const SafeTensorsHeader& header, std::uint64_t bytes, const std::string& path) {
  std::vector<const TensorEntry*> order;
  for (const auto& [name, entry] : header.tensors) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const TensorEntry* a, const TensorEntry* b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  std::uint64_t at = 0;
  for (const TensorEntry* entry : order) {
    ensure(entry->end <= bytes, path, ": tensor '", entry->name, "' ends at byte ", entry->end, " of ", bytes,
           " (is the file truncated?)");
    ensure(entry->begin == at, path, ": tensor '", entry->name, "' begins at byte ", entry->begin,
           ", but the one before ends at ", at);
    at = entry->end;
  }
  ensure(at == bytes, path, ": ", bytes - at, " bytes belong to no tensor");
}

inline SafeTensorsHeader parse_safetensors_header(std::string_view file, const std::string& path) {
  std::uint64_t length = 0;
  ensure(file.size() >= sizeof(length), path, ": truncated safetensors file (", file.size(), " bytes)");
  std::memcpy(&length, file.data(), sizeof(length));
  ensure(length <= max_safetensors_header && length <= file.size() - sizeof(length), path,
         ": not a safetensors file, or truncated (a header of ", length, " bytes in a file of ", file.size(),
         ")");
  const nlohmann::json json = parse_json(file.substr(sizeof(length), length), path);
  ensure(json.is_object(), path, ": the safetensors header is no JSON object");
  SafeTensorsHeader header;
  header.length = sizeof(length) + length;
  for (const auto& [name, value] : json.items()) {
    if (name == metadata_key) {
      ensure(value.is_object(), path, ": the metadata is no JSON object");
      for (const auto& [key, text] : value.items()) {
        ensure(text.is_string(), path, ": metadata '", key, "' is no string");
        header.metadata[key] = text.get<std::string>();
      }
    } else {
      header.tensors.emplace(name, parse_entry(name, value, concat(path, ": tensor '", name, "'")));
    }
  }
  check_layout(header, file.size() - header.length, path);
  return header;
}

}  // namespace vlp::io::detail
