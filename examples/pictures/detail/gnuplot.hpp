/// \file
/// Runs gnuplot, quietly and without a shell.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vlp/core/printable.hpp>
#include <vlp/io/file.hpp>

#include <array>
#include <cerrno>
#include <filesystem>
#include <locale>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::pictures::detail {

/// A string literal of gnuplot, in which an apostrophe alone has a meaning.
inline std::string gnuplot_text(std::string_view text) {
  std::string out = "'";
  for (const char c : printable(text)) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out += '\'';
}

/// A stream of gnuplot's commands and numbers, which are the same in every locale.
class Script : public std::ostringstream {
 public:
  Script() { imbue(std::locale::classic()); }
};

/// Settings that all plots share: a PNG of that size in pixels, plain text, light grid, colours that the
/// colour-blind can tell apart (Okabe and Ito).
inline std::string plot_style(int width, int height) {
  Script out;
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

/// Runs a program found on PATH between two open files and waits for it; what it complains of goes nowhere.
/// Returns its exit status, as a shell would tell it, or -1 when it could not be run.
inline int run_quietly(std::vector<std::string> command, int input, int output) {
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0) return -1;
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<char*> arguments;
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return -1;
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Tells whether an open file ends as every whole PNG does. gnuplot says nothing of a disk that is full.
inline bool ends_as_png(int file) {
  constexpr std::string_view end("IEND\xAE\x42\x60\x82", 8);
  std::array<char, end.size()> bytes{};
  struct stat status {};
  const bool is_read = ::fstat(file, &status) == 0 &&
                       ::pread(file, bytes.data(), bytes.size(),
                               status.st_size - static_cast<off_t>(end.size())) == ssize_t{end.size()};
  return is_read && std::string_view(bytes.data(), bytes.size()) == end;
}

/// Lets gnuplot write `png` by a script (which must not set an output). The picture replaces an older one
/// only when it is complete. Returns an empty string, or a note that says why there is no picture. Throws
/// std::runtime_error, naming `png`, where no file can be written.
///
/// gnuplot is told no file's name, of which it might take one for a command ('|...') or an option: the script
/// is its input and the picture its output.
inline std::string run_gnuplot(const std::filesystem::path& png, const std::string& script) {
  io::TemporaryFile input(png), picture(png);
  input.write(script);
  ::lseek(input.descriptor(), 0, SEEK_SET);
  const int status =
      run_quietly({"gnuplot", "--default-settings", "-"}, input.descriptor(), picture.descriptor());
  if (status == -1 || status == 127) return png.string() + ": not plotted, since gnuplot is not installed";
  if (status != 0 || !ends_as_png(picture.descriptor()))
    return png.string() + ": not plotted, gnuplot failed";
  picture.commit();
  return {};
}

}  // namespace vlp::pictures::detail
