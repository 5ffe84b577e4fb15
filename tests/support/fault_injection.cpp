// A library to preload into a program: VLP_FAULT=CALL:N:ACTION makes its Nth call of rename, fsync or write
// (to a regular file) end the process, where ACTION is "kill", or fail with that errno. Later calls fail with
// it too.
#include <dlfcn.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>

namespace {

struct Fault {
  std::string call;
  int number = 0, error = 0;  // an error of 0 kills

  Fault() {
    const char* given = std::getenv("VLP_FAULT");
    if (given == nullptr) return;
    const std::string text(given);
    const auto first = text.find(':'), second = text.find(':', first + 1);
    call = text.substr(0, first);
    number = std::atoi(text.c_str() + first + 1);
    error = std::atoi(text.c_str() + second + 1);  // "kill" is 0
    ::unsetenv("LD_PRELOAD");                      // programs that it starts are left alone
  }
};

const Fault& fault() {
  static const Fault only;
  return only;
}
[[maybe_unused]] const Fault& at_start = fault();

/// Whether this call is to fail, with errno set.
bool fails(const char* call) {
  static std::atomic<int> calls{0};
  if (fault().call != call || calls.fetch_add(1) + 1 < fault().number) return false;
  if (fault().error == 0) ::kill(::getpid(), SIGKILL);
  errno = fault().error;
  return true;
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" int rename(const char* from, const char* to) noexcept {
  return fails("rename") ? -1 : next<int(const char*, const char*)>("rename")(from, to);
}

extern "C" int fsync(int file) {
  return fails("fsync") ? -1 : next<int(int)>("fsync")(file);
}

extern "C" ssize_t write(int file, const void* bytes, std::size_t count) {
  struct stat status {};
  const bool counts = file > STDERR_FILENO && ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  return counts && fails("write") ? -1
                                  : next<ssize_t(int, const void*, std::size_t)>("write")(file, bytes, count);
}
