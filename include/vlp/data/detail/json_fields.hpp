/// \file
/// Fields of the JSON objects that collections of texts consist of.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/io/json.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace vlp::data::detail {

/// Reads the fields of an object as texts, without the white space at their ends, and notes the first fault.
class JsonFields {
 public:
  explicit JsonFields(const nlohmann::json& object) : object_(object) {}

  /// The text of a field that must be there, a string that is not blank.
  [[nodiscard]] std::string text(const char* key) { return read(key, false); }
  /// The text of a field that must be there, a string that is not blank or a number, as it is written
  /// shortest.
  [[nodiscard]] std::string text_or_number(const char* key) { return read(key, true); }
  /// The text of a field that may be absent or null.
  [[nodiscard]] std::string optional_text(const char* key) {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? std::string() : read(key, true);
  }

  /// The fault of a field that was read; empty if there is none.
  [[nodiscard]] const std::string& fault() const { return fault_; }
  /// Notes a fault that the caller has found, unless there is one.
  void blame(std::string fault) {
    if (fault_.empty()) fault_ = std::move(fault);
  }

 private:
  std::string read(const char* key, bool number_too) {
    const auto found = object_.find(key);
    if (found == object_.end()) {
      blame(concat("no ", key));
      return {};
    }
    if (found->is_number() && number_too) return found->dump();
    if (!found->is_string()) {
      blame(concat(key, " is ", io::json_kind(found->type()), ", not ",
                   number_too ? "a string or number" : "a string"));
      return {};
    }
    std::string value(trimmed(found->get_ref<const std::string&>()));
    if (value.empty()) blame(concat("empty ", key));
    return value;
  }

  const nlohmann::json& object_;
  std::string fault_;
};

}  // namespace vlp::data::detail
