/// \file
/// What tests ask of the messages of exceptions.
#pragma once

#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <vector>

namespace vlp::test {

/// The message of the `Error` that `action` throws; "no error" if it throws none.
template <class Error = std::runtime_error, class Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace vlp::test

/// The message of what `action` throws contains every one of the given parts.
#define CHECK_MESSAGE_HAS(action, ...)                                                      \
  do {                                                                                      \
    const std::string message_ = vlp::test::message_of([&] { static_cast<void>(action); }); \
    INFO("message: " << message_);                                                          \
    for (const std::string& part_ : std::vector<std::string>{__VA_ARGS__}) {                \
      INFO("expected: " << part_);                                                          \
      CHECK(message_.find(part_) != std::string::npos);                                     \
    }                                                                                       \
  } while (false)
