/// \file
/// Programs run as processes.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vlp/core/errors.hpp>
#include <vlp/io/file.hpp>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace vlp::test {

/// What a program left: its exit status (or minus the signal that ended it) and all it printed.
struct ProgramResult {
  int status = 0;
  std::string out, error;
};

/// A program that has been started, its input coming from a file and its output going to files in `folder`.
class Program {
 public:
  Program(const std::filesystem::path& folder, std::vector<std::string> command,
          const std::filesystem::path& input = "/dev/null")
      : out_(folder / "stdout"), error_(folder / "stderr") {
    std::vector<char*> arguments;
    for (std::string& argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    child_ = ::fork();
    ensure(child_ >= 0, "cannot fork");
    if (child_ != 0) return;
    redirect(input.c_str(), O_RDONLY, STDIN_FILENO);
    redirect(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    redirect(error_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

  void send(int signal) const { ::kill(child_, signal); }

  /// Waits until `ready()` or for `seconds`; false when that was too short or the program ended before.
  template <class Ready>
  [[nodiscard]] bool wait_until(Ready&& ready, double seconds = 60) const {
    for (double waited = 0; waited < seconds; waited += 0.001) {
      if (ready()) return true;
      siginfo_t info{};
      ::waitid(P_PID, static_cast<id_t>(child_), &info, WEXITED | WNOHANG | WNOWAIT);
      if (info.si_pid != 0) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  /// Waits for the end.
  ProgramResult finish() {
    int status = 0;
    ::waitpid(child_, &status, 0);
    child_ = -1;
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), io::read_file(out_),
            io::read_file(error_)};
  }

 private:
  static void redirect(const char* path, int flags, int to) {
    const int from = ::open(path, flags, 0666);
    if (from < 0 || ::dup2(from, to) < 0) ::_exit(126);
    ::close(from);
  }

  std::filesystem::path out_, error_;
  pid_t child_ = -1;
};

/// Runs a program to its end.
inline ProgramResult run_program(const std::filesystem::path& folder, std::vector<std::string> command,
                                 const std::filesystem::path& input = "/dev/null") {
  return Program(folder, std::move(command), input).finish();
}

}  // namespace vlp::test
