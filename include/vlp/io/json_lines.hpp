/// \file
/// JSON Lines (`.jsonl`): files of which each line is a JSON object.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/json.hpp>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace vlp::io {

/// A line of a JSON Lines file that is not blank.
struct JsonLine {
  Index number = 0;       ///< counted from 1, blank lines included
  nlohmann::json object;  ///< empty where there is a fault
  std::string fault;      ///< what is wrong, e.g. "not JSON (column 12)"; empty if the line is an object
};

/// The lines of a JSON Lines file, one after the other. Each is parsed when its turn comes, so that one that
/// is faulty stops nothing and no more than one is in memory beside the file's bytes:
///
///     io::JsonLines lines("mli_dev_v1.jsonl");
///     while (const std::optional<io::JsonLine> line = lines.next())
///       if (line->fault.empty()) use(line->object);
class JsonLines {
 public:
  /// Reads the file. Throws std::runtime_error, naming the file and, where there is one, the line, when it
  /// cannot be read or is not UTF-8 (see utf8_text; a byte order mark is skipped); Stopped, as next() does.
  explicit JsonLines(const Path& path, StopToken stop = {}, const JsonLimits& limits = {})
      : path_(path.string()),
        bytes_(read_file(path, {.stop = stop})),
        rest_(utf8_text(bytes_, path_)),
        stop_(stop),
        limits_(limits) {}
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;

  /// The file, for messages.
  [[nodiscard]] const std::string& path() const { return path_; }

  /// The next line that is not blank, if there is one. A line that is not one JSON object within the limits,
  /// or names a key twice in an object, has a fault that says so; one that is also the file's last and has no
  /// line end may have been cut, and its fault says so.
  [[nodiscard]] std::optional<JsonLine> next() {
    while (!rest_.empty()) {
      stop_.check();
      const std::string_view whole = next_line(rest_);
      const std::string_view text = without_line_end(whole);
      ++number_;
      if (trimmed(text).empty()) continue;
      JsonLine line{number_, nlohmann::json::object(), {}};
      try {
        nlohmann::json value = parse_json(text, "", limits_);
        if (value.is_object())
          line.object = std::move(value);
        else
          line.fault = concat(json_kind(value.type()), ", not an object");
      } catch (const std::runtime_error& error) {
        line.fault =
            std::string_view(error.what()).substr(std::string_view(": ").size());  // no source is named
        if (text.size() == whole.size())
          line.fault += "; it is the last line and has no end: is the file cut?";
      }
      return line;
    }
    return std::nullopt;
  }

 private:
  std::string path_, bytes_;
  std::string_view rest_;  // of bytes_, from the next line on
  StopToken stop_;
  JsonLimits limits_;
  Index number_ = 0;
};

}  // namespace vlp::io
