/// \file
/// Runs gnuplot, quietly and without a shell.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vlp/io/file.hpp>

#include <array>
#include <cerrno>
#include <filesystem>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

namespace vlp::pictures::detail {

/// A string literal of gnuplot.
inline std::string gnuplot_text(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c == '\n' ? ' ' : c;
  }
  return out += '\'';
}

/// Settings that all plots share: a PNG of that size in pixels, plain text, light grid, colours that the
/// colour-blind can tell apart (Okabe and Ito).
inline std::string plot_style(int width, int height) {
  std::ostringstream out;
  const auto terminal = [&](std::string_view name) {
    return "set terminal " + std::string(name) + " size " + std::to_string(width) + "," +
           std::to_string(height) + " noenhanced";
  };
  out << "if (strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) {\n"
      << terminal("pngcairo") << " font 'Sans,12'\n} else {\n"
      << terminal("png") << "\n}\n"
      << "set border 3 linecolor rgb '#606060'\nset tics nomirror\nset grid linecolor rgb '#e0e0e0' linetype "
         "1\n";
  int number = 0;
  for (const char* colour : {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"})
    out << "set linetype " << ++number << " linecolor rgb '" << colour << "'\n";
  return out.str();
}

/// Runs a program found on PATH and waits for it; its output goes nowhere. Returns its exit status, or -1
/// when it could not be run or was killed.
inline int run_quietly(const std::string& program, const std::string& argument) {
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0) return -1;
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_WRONLY, 0);
  std::string name = program, operand = argument;
  const std::array<char*, 3> arguments{name.data(), operand.data(), nullptr};
  pid_t child = 0;
  const int failed = posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return -1;
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Lets gnuplot write `png` by a script (which must not set an output). The picture replaces an older one
/// only when it is complete. Returns an empty string, or a note that says why there is no picture.
inline std::string run_gnuplot(const std::filesystem::path& png, const std::string& script) {
  const std::filesystem::path script_file = png.string() + ".gp", part = png.string() + ".part";
  io::write_file(script_file, "set output " + gnuplot_text(part.string()) + "\n" + script + "set output\n");
  const int status = run_quietly("gnuplot", script_file.string());
  std::error_code ignored, missing;
  std::filesystem::remove(script_file, ignored);
  const bool complete = status == 0 && std::filesystem::file_size(part, missing) > 0 && !missing;
  if (!complete) {
    std::filesystem::remove(part, ignored);
    return png.string() + (status == -1 || status == 127 ? ": not plotted, since gnuplot is not installed"
                                                         : ": not plotted, gnuplot failed");
  }
  std::filesystem::rename(part, png);
  return {};
}

}  // namespace vlp::pictures::detail
