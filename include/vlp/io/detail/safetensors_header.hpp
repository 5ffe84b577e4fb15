/// \file
/// The header of a safetensors file: its length in 8 bytes, then JSON that gives each tensor's type, shape
/// and place in the bytes that follow.
#pragma once

#include <nlohmann/json.hpp>

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/io/detail/byte_size.hpp>
#include <vlp/io/json.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::io::detail {

/// `other`: a type of the format whose values vlp does not read, such as BOOL.
enum class TensorType { f32, f64, f16, bf16, i32, i64, u8, other };

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

/// The name and the width of any type but `other`, which has neither.
inline std::string_view type_name(TensorType type) {
  return tensor_types[static_cast<std::size_t>(type)].name;
}
inline std::size_t width(TensorType type) {
  return tensor_types[static_cast<std::size_t>(type)].width;
}
/// The type of that name in the file.
inline TensorType type_of_name(std::string_view name) {
  for (const TensorTypeInfo& info : tensor_types)
    if (info.name == name) return info.type;
  return TensorType::other;
}

inline std::string text_of(const std::vector<Index>& shape) {
  std::string out = "[";
  for (std::size_t d = 0; d < shape.size(); ++d) out += (d == 0 ? "" : ", ") + std::to_string(shape[d]);
  return out + "]";
}

struct TensorEntry {
  std::string name;
  TensorType type = TensorType::f32;
  std::string dtype;  // the type's name in the file
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

/// Returns the header's bytes, its length included, padded with spaces so that the tensors begin at a
/// multiple of 8.
inline std::string make_safetensors_header(std::span<const TensorEntry> tensors,
                                           const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  // Member by member, for an ordered object looks through all its names for each new one.
  const auto add = [&](std::string_view name, const nlohmann::ordered_json& value) {
    text.append(text.size() == 1 ? "" : ",").append(nlohmann::json(name).dump()).append(":");
    text += value.dump();
  };
  std::set<std::string_view> names;
  try {
    if (!metadata.empty()) add(metadata_key, metadata);
    for (const TensorEntry& tensor : tensors) {
      require(tensor.name != metadata_key && names.insert(tensor.name).second,
              "write_safetensors: a tensor '", tensor.name, "' where there is one of that name");
      require(byte_size(width(tensor.type), tensor.shape) == tensor.end - tensor.begin,
              "write_safetensors: tensor '", tensor.name, "' of shape ", text_of(tensor.shape), " has ",
              tensor.end - tensor.begin, " bytes");
      add(tensor.name, {{"dtype", type_name(tensor.type)},
                        {"shape", tensor.shape},
                        {"data_offsets", {tensor.begin, tensor.end}}});
    }
  } catch (const nlohmann::json::exception& error) {
    require(false, "write_safetensors: ", error.what());
  }
  text += '}';
  text.append((8 - text.size() % 8) % 8, ' ');
  require(text.size() <= max_safetensors_header, "write_safetensors: a header of ", text.size(), " bytes");
  const std::uint64_t length = text.size();
  std::string out(sizeof(length), '\0');
  std::memcpy(out.data(), &length, sizeof(length));
  return out + text;
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
  entry.dtype = json["dtype"].get<std::string>();
  entry.type = type_of_name(entry.dtype);
  entry.shape = json["shape"].get<std::vector<Index>>();
  entry.begin = json["data_offsets"][0].get<std::uint64_t>();
  entry.end = json["data_offsets"][1].get<std::uint64_t>();
  // The elements of a type that is not known may have any width.
  const bool is_known = entry.type != TensorType::other;
  const auto expected = byte_size(is_known ? width(entry.type) : 1, entry.shape);
  ensure(entry.begin <= entry.end && expected && (!is_known || *expected == entry.end - entry.begin), where,
         ": data_offsets ", entry.begin, " to ", entry.end, " do not fit the shape ", text_of(entry.shape),
         " of ", entry.dtype);
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
  const nlohmann::json json =
      parse_json(file.substr(sizeof(length), length), concat(path, ": the safetensors header"));
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
