/// \file
/// Arguments and results of the text engine's calls from Python: exceptions, numbers, names, and texts by the
/// line.
#pragma once

#include "in_call.hpp"

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/string.h>

#include <vlp/core/cpu.hpp>
#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::bindings {

namespace ffi = tvm::ffi;
using Texts = ffi::Array<ffi::String>;

inline std::string_view view(const ffi::String& text) {
  return {text.data(), text.size()};
}
inline std::string_view view(const ffi::Bytes& bytes) {
  return {bytes.data(), bytes.size()};
}
inline ffi::String text_of(std::string_view text) {
  return ffi::String(text.data(), text.size());
}

inline std::vector<std::string> strings_of(const Texts& texts) {
  return {texts.begin(), texts.end()};
}

/// Does an action of a call, whose exceptions become Python's with the same sentence: ValueError for
/// arguments and for what texts and files hold, and MemoryError.
template <class Action>
auto as_python(Action&& action) -> decltype(action()) {
  const InCall in_call;
  try {
    return action();
  } catch (const ffi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw ffi::Error("MemoryError", "there is not enough memory", "");
  } catch (const std::length_error&) {
    throw ffi::Error("MemoryError", "there is not enough memory", "");
  } catch (const std::invalid_argument& error) {
    throw ffi::Error("ValueError", error.what(), "");
  } catch (const std::runtime_error& error) {
    throw ffi::Error("ValueError", error.what(), "");
  }
}

/// One of the 32-bit numbers that draws are addressed by.
inline std::uint32_t address(const char* name, std::int64_t number) {
  require_range<std::int64_t>(name, number, 0, std::numeric_limits<std::uint32_t>::max());
  return static_cast<std::uint32_t>(number);
}

/// A count that is not negative.
inline std::size_t count_of(const char* name, std::int64_t number) {
  require(number >= 0, name, " must not be negative, but is ", number);
  return static_cast<std::size_t>(number);
}

/// The value of an enumeration by its name.
template <class Enum>
Enum choice(std::string_view option, const ffi::String& name) {
  Enum value{};
  try {
    from_text(view(name), value);
  } catch (const std::invalid_argument& error) {
    require(false, option, " ", error.what());
  }
  return value;
}

/// The calling thread's device of so many threads, 0 for all.
inline Cpu& device_of(std::int64_t threads) {
  thread_local std::int64_t asked = -1;
  thread_local std::unique_ptr<Cpu> device;
  if (device == nullptr || asked != threads) {
    require_range<std::int64_t>("threads", threads, 0, Cpu::most_threads);
    device = std::make_unique<Cpu>(static_cast<int>(threads));
    asked = threads;
  }
  return *device;
}

/// Calls work(i, worker) for each i below `count` on so many threads; each thread has a worker, made by
/// `make()`, whose memory is used again and again.
template <class Make, class Work>
void for_each_index(std::size_t count, std::int64_t threads, Make&& make, Work&& work) {
  using Worker = decltype(make());
  Cpu& device = device_of(threads);
  std::vector<std::optional<Worker>> workers(static_cast<std::size_t>(device.threads()));
  device.parallel_for(static_cast<Index>(count), [&](Index i, int place) {
    std::optional<Worker>& worker = workers[static_cast<std::size_t>(place)];
    if (!worker) worker.emplace(make());
    work(static_cast<std::size_t>(i), *worker);
  });
}

/// The lines that line(text, i, worker, out) appends to `out` for each text, which begin and end without a
/// line feed.
template <class Make, class Line>
ffi::String lines_of(const Texts& texts, std::int64_t threads, Make&& make, Line&& line) {
  std::vector<std::string> lines(texts.size());
  for_each_index(texts.size(), threads, make, [&](std::size_t i, auto& worker) {
    const ffi::String text = texts[static_cast<std::int64_t>(i)];
    line(view(text), i, worker, lines[i]);
  });
  if (lines.size() == 1) return ffi::String(std::move(lines.front()));
  std::size_t bytes = lines.size();
  for (const std::string& one : lines) bytes += one.size();
  std::string all;
  all.reserve(bytes);
  for (const std::string& one : lines) all.append(all.empty() ? "" : "\n").append(one);
  return ffi::String(std::move(all));
}

/// How many 32-bit numbers there are, and the numbers, as bytes.
template <class Number>
std::string numbers_of(const std::vector<Number>& numbers) {
  static_assert(sizeof(Number) == sizeof(std::uint32_t));
  const auto count = static_cast<std::uint32_t>(numbers.size());
  std::string out(reinterpret_cast<const char*>(&count), sizeof(count));
  if (count > 0) out.append(reinterpret_cast<const char*>(numbers.data()), count * sizeof(Number));
  return out;
}

template <class Names>
Texts names_of(const Names& names) {
  Texts out;
  for (const std::string_view name : names) out.push_back(text_of(name));
  return out;
}

}  // namespace vlp::bindings
