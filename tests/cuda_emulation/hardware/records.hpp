/// \file
/// The file that the hardware probe writes and the emulation's tests read: named arrays, one after another.
///
/// It begins with the line "vlp hardware probe 1". A record is a line "NAME TYPE COUNT", COUNT little-endian
/// elements and a newline. TYPE is u8, u16, u32 or f32, or text, whose elements are characters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace hardware {

inline const std::string first_line = "vlp hardware probe 1\n";

template <class T>
constexpr const char* type_name() {
  if constexpr (std::is_same_v<T, char>) {
    return "text";
  } else if constexpr (std::is_same_v<T, float>) {
    return "f32";
  } else if constexpr (std::is_same_v<T, std::uint8_t>) {
    return "u8";
  } else if constexpr (std::is_same_v<T, std::uint16_t>) {
    return "u16";
  } else {
    static_assert(std::is_same_v<T, std::uint32_t>);
    return "u32";
  }
}

/// In bytes; 0 for a type that there is not.
inline std::size_t element_size(const std::string& type) {
  if (type == "u8" || type == "text") return 1;
  if (type == "u16") return 2;
  return type == "u32" || type == "f32" ? 4 : 0;
}

/// One record as the file has it, of whole elements. `name` has no blanks.
inline std::string serialized(const std::string& name, const std::string& type, const std::string& bytes) {
  return name + " " + type + " " + std::to_string(bytes.size() / element_size(type)) + "\n" + bytes + "\n";
}
template <class T>
std::string serialized(const std::string& name, const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return serialized(name, type_name<T>(), bytes);
}
inline std::string serialized(const std::string& name, const std::string& text) {
  return serialized(name, std::vector<char>(text.begin(), text.end()));
}

/// All records of a file, by name.
class Records {
 public:
  /// `bytes` is the whole file. Throws std::runtime_error when it is damaged.
  explicit Records(const std::string& bytes) {
    if (bytes.compare(0, first_line.size(), first_line) != 0)
      throw std::runtime_error("not a file of the hardware probe");
    std::size_t at = first_line.size();
    while (at < bytes.size()) at = read_one(bytes, at);
  }

  [[nodiscard]] bool has(const std::string& name) const { return records_.count(name) != 0; }

  /// Throws std::runtime_error when there is no record of this name and type.
  template <class T>
  [[nodiscard]] std::vector<T> get(const std::string& name) const {
    const Record& record = find(name);
    if (record.type != type_name<T>())
      throw std::runtime_error("record " + name + " has elements of type " + record.type);
    std::vector<T> out(record.bytes.size() / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), record.bytes.data(), record.bytes.size());
    return out;
  }
  [[nodiscard]] std::string text(const std::string& name) const {
    const std::vector<char> out = get<char>(name);
    return {out.begin(), out.end()};
  }
  /// Of one record; throws like get.
  [[nodiscard]] const std::string& type(const std::string& name) const { return find(name).type; }
  [[nodiscard]] const std::string& bytes(const std::string& name) const { return find(name).bytes; }
  /// All, sorted.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, record] : records_) out.push_back(name);
    return out;
  }

 private:
  struct Record {
    std::string type, bytes;
  };

  [[nodiscard]] const Record& find(const std::string& name) const {
    const auto found = records_.find(name);
    if (found == records_.end()) throw std::runtime_error("the probe's file has no record " + name);
    return found->second;
  }

  /// Reads the record at `at` and returns where the next one begins.
  std::size_t read_one(const std::string& bytes, std::size_t at) {
    const std::size_t end = bytes.find('\n', at);
    std::istringstream line(bytes.substr(at, end == std::string::npos ? 0 : end - at));
    std::string name, type;
    std::size_t count = 0;
    if (!(line >> name >> type >> count)) throw std::runtime_error("a record's first line is damaged");
    const std::size_t size = element_size(type);
    if (size == 0) throw std::runtime_error("record " + name + " has elements of an unknown type " + type);
    if (count > bytes.size() / size || end + 1 + count * size >= bytes.size() ||
        bytes[end + 1 + count * size] != '\n')
      throw std::runtime_error("record " + name + " is not whole");
    if (!records_.emplace(name, Record{type, bytes.substr(end + 1, count * size)}).second)
      throw std::runtime_error("record " + name + " occurs twice");
    return end + 2 + count * size;
  }

  std::map<std::string, Record> records_;
};

}  // namespace hardware
