// What the libFuzzer targets of this folder share. A target reads any bytes by one reader of foreign files,
// and checks every promise that is cheap to check: that the reader either returns something sound or throws
// std::runtime_error with a message, and nothing else.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <typeinfo>

namespace vlp::fuzz {

/// Ends the fuzzer, which keeps the input, unless a promise was kept.
inline void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

/// The bytes that libFuzzer made.
inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Calls `read()`, which may throw std::runtime_error with a message and must throw nothing else. Returns
/// whether it returned.
template <class Read>
bool reads(Read&& read) {
  try {
    read();
    return true;
  } catch (const std::runtime_error& error) {
    promise(std::strlen(error.what()) > 0, "an error has a message");
    promise(std::strlen(error.what()) < 4096, "a message is a sentence, not the file");
    promise(typeid(error) == typeid(std::runtime_error), "the error is vlp's own");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", typeid(error).name(), error.what());
    promise(false, "bad input is a std::runtime_error");
  }
  return false;
}

/// A folder in memory for the files of this process, which is removed when the process ends.
inline const std::filesystem::path& folder() {
  static const std::filesystem::path path = [] {
    const bool in_memory = std::filesystem::is_directory("/dev/shm");
    auto made = (in_memory ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) /
                ("vlp_fuzz." + std::to_string(::getpid()));
    std::filesystem::create_directories(made);
    std::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(folder(), ignored);
    });
    return made;
  }();
  return path;
}

/// The path of a file of that name in folder() which holds the bytes.
inline std::filesystem::path file_with(std::string_view bytes, const char* name) {
  auto path = folder() / name;
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

}  // namespace vlp::fuzz
