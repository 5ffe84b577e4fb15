// What PTX instructions and device functions do on a card, on fixed inputs (hardware/), written to one file
// that the emulation's tests compare with:
//   hardware_probe FILE [--only GROUP]
// Groups run in a process of their own, since an error of a kernel ends all CUDA of its process: when one
// fails or hangs, the file says so, and a new process goes on with the next. Exit code 0 if all groups came,
// 1 if not, 2 without a device.
#include "hardware/groups.hpp"
#include "hardware/records.hpp"

#include <cuda_runtime.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

namespace {

constexpr int no_device = 2, group_failed = 3;
// The first group also waits for the driver to start.
constexpr int first_limit_s = 60, limit_s = 15;

std::vector<hardware::Group> all_groups() {
  std::vector<hardware::Group> out = hardware::basic_groups();
  for (const auto& more : {hardware::tma_groups(), hardware::wgmma_groups(), hardware::refused_groups()})
    out.insert(out.end(), more.begin(), more.end());
  return out;
}

void write_all(int to, const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(to, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(group_failed);
    done += static_cast<std::size_t>(n);
  }
}

/// The child: runs groups from `first` on until one fails. After each it sends a line "SIZE MESSAGE", MESSAGE
/// empty if all went well, and the records.
[[noreturn]] void run_groups(const std::vector<hardware::Group>& groups, std::size_t first, int to) {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "There is no CUDA device: %s.\n", cudaGetErrorString(status));
    _exit(no_device);
  }
  for (std::size_t i = first; i < groups.size(); ++i) {
    hardware::Output out;
    std::string message;
    try {
      groups[i].run(out);
    } catch (const std::exception& error) {
      message = error.what();
      for (char& c : message)
        if (c == '\n') c = ' ';
      if (message.empty()) message = "unknown error";
    }
    write_all(to, std::to_string(out.bytes().size()) + " " + message + "\n" + out.bytes());
    if (!message.empty()) _exit(group_failed);
    if (groups[i].ends_process) break;
  }
  _exit(0);
}

/// What a child sent of one group.
struct Answer {
  bool arrived = false;
  std::string message, records;
};

/// Reads the child's answers.
class Reader {
 public:
  explicit Reader(int from) : from_(from) {}

  /// Not arrived when the child ended or took longer; `timed_out` says which.
  Answer next(int seconds, bool& timed_out) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    timed_out = false;
    for (;;) {
      const std::size_t line = buffer_.find('\n');
      if (line != std::string::npos) {
        const std::size_t size = std::strtoull(buffer_.c_str(), nullptr, 10);
        if (buffer_.size() >= line + 1 + size) {
          const std::size_t blank = buffer_.find(' ');
          Answer out{true, buffer_.substr(blank + 1, line - blank - 1), buffer_.substr(line + 1, size)};
          buffer_.erase(0, line + 1 + size);
          return out;
        }
      }
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      pollfd wait{from_, POLLIN, 0};
      const int ready = left.count() <= 0 ? 0 : poll(&wait, 1, static_cast<int>(left.count()));
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) {
        timed_out = true;
        return {};
      }
      char part[65536];
      const ssize_t n = read(from_, part, sizeof part);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return {};
      buffer_.append(part, static_cast<std::size_t>(n));
    }
  }

 private:
  int from_;
  std::string buffer_;
};

/// A process that runs groups from `first` on.
struct Child {
  pid_t pid = -1;
  int from = -1;

  Child(const std::vector<hardware::Group>& groups, std::size_t first) {
    int ends[2];
    if (pipe(ends) != 0) std::perror("pipe"), std::exit(1);
    std::fflush(nullptr);
    pid = fork();  // before this process touched CUDA, so that the child may
    if (pid < 0) std::perror("fork"), std::exit(1);
    if (pid == 0) {
      close(ends[0]);
      run_groups(groups, first, ends[1]);
    }
    close(ends[1]);
    from = ends[0];
  }
  /// Ends the process if it still runs; what waitpid says.
  int end() {
    close(from);
    kill(pid, SIGKILL);
    return wait();
  }
  int wait() {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }
};

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return std::string("the process ended: ") + strsignal(WTERMSIG(status));
  return "the process ended with exit code " + std::to_string(WEXITSTATUS(status));
}

bool write_file(const std::string& path, const std::string& records) {
  std::ofstream file(path, std::ios::binary);
  file << hardware::first_line << records;
  file.close();
  return static_cast<bool>(file);
}

/// Runs all groups and returns how many failed, or -1 without a device. `records` gets what came; so does the
/// file after each group, in case this process is stopped.
int drive(const std::vector<hardware::Group>& groups, const std::string& path, std::string& records) {
  int failed = 0;
  for (std::size_t next = 0; next < groups.size();) {
    Child child(groups, next);
    Reader reader(child.from);
    std::string message;
    bool ended = false;
    for (bool fresh = true; next < groups.size() && message.empty() && !ended; fresh = false, ++next) {
      bool timed_out = false;
      const Answer answer = reader.next(fresh ? first_limit_s : limit_s, timed_out);
      message = answer.message;
      ended = groups[next].ends_process;
      if (!answer.arrived) {
        if (timed_out) {
          child.end();
          message = "no answer within the time limit";
        } else {
          const int status = child.wait();
          close(child.from);
          if (WIFEXITED(status) && WEXITSTATUS(status) == no_device) return -1;
          message = how_it_ended(status);
        }
        child.pid = -1;
      }
      records += answer.records;
      const std::string& name = groups[next].name;
      if (message.empty()) {
        std::printf("%s: %zu bytes\n", name.c_str(), answer.records.size());
      } else {
        std::printf("%s: failed: %s\n", name.c_str(), message.c_str());
        records += hardware::serialized("error/" + name, message);
        ++failed;
      }
      std::fflush(stdout);
      write_file(path, records);
    }
    if (child.pid > 0) child.end();
  }
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  const bool only = argc == 4 && std::string(argv[2]) == "--only";
  if (argc != 2 && !only) {
    std::fprintf(stderr, "usage: hardware_probe FILE [--only GROUP]\n");
    return 1;
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<hardware::Group> groups;
  for (const hardware::Group& group : all_groups())
    if (!only || group.name == argv[3]) groups.push_back(group);
  if (groups.empty()) {
    std::fprintf(stderr, "There is no group %s.\n", argv[3]);
    return 1;
  }
  std::string records;
  const int failed = drive(groups, argv[1], records);
  if (failed < 0) return no_device;
  if (!write_file(argv[1], records)) {
    std::fprintf(stderr, "Writing %s failed.\n", argv[1]);
    return 1;
  }
  std::printf("%zu groups, %d failed, %zu bytes in %s\n", groups.size(), failed, records.size(), argv[1]);
  return failed == 0 ? 0 : 1;
}
