/// \file
/// JSON from files of strangers: one parser for all of them, with limits.
#pragma once

#include <nlohmann/json.hpp>

#include <vlp/core/errors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::io {

/// Limits of parse_json.
struct JsonLimits {
  std::size_t max_bytes = 100'000'000;
  std::size_t max_depth = 64;  ///< objects and arrays within one another; what handles JSON is recursive
};

namespace detail {

/// Builds a value from the events of nlohmann's parser. Its own builder looks through all names of an ordered
/// object for each new one, and lets a name occur twice.
template <class Json>
class JsonBuilder {
 public:
  JsonBuilder(std::string_view text, std::string_view source, std::size_t max_depth)
      : text_(text), source_(source), max_depth_(max_depth) {}

  [[nodiscard]] Json take() { return std::move(root_); }

  // The parser calls these; the names are nlohmann's.
  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(std::int64_t value) { return add(value); }
  bool number_unsigned(std::uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(typename Json::binary_t&) { return false; }
  bool start_object(std::size_t) {
    open(Json::object());
    names_.emplace_back();
    return true;
  }
  bool start_array(std::size_t) {
    open(Json::array());
    return true;
  }
  bool key(std::string& name) {
    ensure(names_.back().insert(name).second, source_, ": the name '", name.substr(0, 100), "' occurs twice");
    name_ = std::move(name);
    return true;
  }
  bool end_object() {
    names_.pop_back();
    open_.pop_back();
    return true;
  }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  template <class Exception>
  bool parse_error(std::size_t position, const std::string&, const Exception&) {
    const std::string_view before = text_.substr(0, position > 0 ? position - 1 : 0);
    const std::size_t line_begin = before.rfind('\n') + 1;  // 0 where there is none
    const std::string line = text_.find('\n') == text_.npos
                                 ? ""
                                 : concat("line ", 1 + std::count(before.begin(), before.end(), '\n'), ", ");
    ensure(false, source_, ": not JSON (", line, "column ", before.size() - line_begin + 1, ")");
    return false;
  }

 private:
  template <class Value>
  bool add(Value&& value) {
    place(Json(std::forward<Value>(value)));
    return true;
  }
  void open(Json&& value) {
    ensure(open_.size() < max_depth_, source_, ": nested deeper than ", max_depth_);
    Json& placed = place(std::move(value));
    open_.push_back(&placed);
  }
  /// Puts a value where it belongs. The pointers in open_ stay: a container grows only while it is the last.
  Json& place(Json&& value) {
    if (open_.empty()) return root_ = std::move(value);
    Json& parent = *open_.back();
    if (parent.is_array()) {
      auto& array = parent.template get_ref<typename Json::array_t&>();
      array.push_back(std::move(value));
      return array.back();
    }
    auto& object = parent.template get_ref<typename Json::object_t&>();
    return insert_new(object, std::move(name_), std::move(value));
  }
  static Json& insert_new(typename nlohmann::json::object_t& object, std::string&& name, Json&& value) {
    return object.emplace(std::move(name), std::move(value)).first->second;
  }
  static Json& insert_new(typename nlohmann::ordered_json::object_t& object, std::string&& name,
                          Json&& value) {
    // The vector below the ordered map: the map's own insertion searches all of it.
    using Members = typename nlohmann::ordered_json::object_t::Container;
    return static_cast<Members&>(object).emplace_back(std::move(name), std::move(value)).second;
  }

  std::string_view text_, source_;
  std::size_t max_depth_;
  Json root_;
  std::vector<Json*> open_;                   // the containers that the next value lies in, outermost first
  std::vector<std::set<std::string>> names_;  // of the objects among them
  std::string name_;                          // of the next value
};

}  // namespace detail

/// Parses JSON that a stranger may have made, in time and memory in proportion to it. `Json` is
/// nlohmann::json or nlohmann::ordered_json. Throws std::runtime_error, beginning with `source` (a file's
/// path, or what is read in it), for text that is not JSON, with the column and, where it has several, the
/// line, a name that occurs twice in one object, or what exceeds a limit.
template <class Json = nlohmann::json>
[[nodiscard]] Json parse_json(std::string_view text, std::string_view source, const JsonLimits& limits = {}) {
  ensure(text.size() <= limits.max_bytes, source, ": ", text.size(), " bytes of JSON, more than the ",
         limits.max_bytes, " that are read");
  detail::JsonBuilder<Json> builder(text, source, limits.max_depth);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

/// Names the kind of a value, for messages that must not hold the value itself: "an object", "a number".
[[nodiscard]] inline std::string_view json_kind(const nlohmann::json::value_t type) {
  using Type = nlohmann::json::value_t;
  switch (type) {
    case Type::null:
      return "null";
    case Type::object:
      return "an object";
    case Type::array:
      return "an array";
    case Type::string:
      return "a string";
    case Type::boolean:
      return "true or false";
    case Type::number_integer:
    case Type::number_unsigned:
    case Type::number_float:
      return "a number";
    default:
      return "no JSON";
  }
}

}  // namespace vlp::io
