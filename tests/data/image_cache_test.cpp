// The folder of resized images: what it saves, and that nothing which happens to it changes an image.
#include "data/small_table.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vlp/core/random.hpp>
#include <vlp/data/image_cache.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace vlp;
using test::make_old;
using test::message_of;
using test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

constexpr Index size = 4, many = 1'000'000;

/// The pixels that a test's "decoder" makes of a file: they depend on its bytes.
data::Pixels pixels_of(std::string_view bytes) {
  data::Pixels pixels(size * size);
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<std::uint16_t>(hash_of(bytes) >> (i % 48));
  return pixels;
}

/// A cache, and how often an image was decoded for it.
struct CountedCache {
  explicit CountedCache(const io::Path& folder) : cache(folder, size) {}
  data::ResizedImage image(const io::Path& file) {
    return cache.image(file, many, [&](std::string_view bytes) {
      ++decoded;
      return pixels_of(bytes);
    });
  }

  data::ImageCache cache;
  std::atomic<int> decoded{0};
};

io::Path old_file(const TemporaryFolder& folder, const std::string& name, std::string_view bytes) {
  const io::Path path = folder.write(name, bytes);
  make_old(path);
  return path;
}

/// The images in a cache's folder, with their bytes, by the names that they have there.
std::map<std::string, std::string> files_of(const io::Path& cache) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(cache))
    if (entry.is_regular_file() && entry.path().parent_path().filename() != "temporary")
      files[fs::relative(entry.path(), cache).string()] = io::read_file(entry.path());
  return files;
}

/// Runs `work` in a child process; its exit status.
int status_of_child(const std::function<bool()>& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work() ? 0 : 1);
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("an image is decoded once, and its file is known by path, size and time or by its contents") {
  const TemporaryFolder folder;
  const io::Path cache = folder / "cache";
  const io::Path file = old_file(folder, "a.png", "first"), same = old_file(folder, "b.png", "first");
  {
    CountedCache images(cache);
    const data::ResizedImage image = images.image(file);
    CHECK(image.pixels == pixels_of("first"));
    CHECK(image.source == hash_of(std::string_view("first")));
    CHECK(image.source_bytes == 5);
    CHECK(images.image(file).pixels == image.pixels);
    CHECK(images.image(same).pixels == image.pixels);
    fs::create_symlink("a.png", folder / "link.png");
    const data::ResizedImage linked = images.image(folder / "link.png");
    CHECK(linked.pixels == image.pixels);
    CHECK(linked.source == image.source);
    CHECK(linked.source_bytes == 5);
    CHECK(images.decoded == 1);
    CHECK(images.cache.note().empty());
  }
  // Another run; the file itself is not even read.
  CountedCache images(cache);
  const auto time = fs::last_write_time(file);
  folder.write("a.png", "FIRST");
  fs::last_write_time(file, time);
  CHECK(images.image(file).pixels == pixels_of("first"));
  CHECK(images.decoded == 0);
  // Another time, another size.
  fs::last_write_time(file, time + std::chrono::nanoseconds(1000));
  CHECK(images.image(file).pixels == pixels_of("FIRST"));
  folder.write("a.png", "first!");
  fs::last_write_time(file, time);
  CHECK(images.image(file).pixels == pixels_of("first!"));
  CHECK(images.decoded == 2);
  // Three contents, and names of four files' states.
  CHECK(files_of(cache).size() == 7);
  CHECK_MESSAGE_HAS(images.image(folder / "c.png"), "c.png: cannot open: No such file or directory");
  CHECK_THROWS_AS(images.image(file.parent_path()), std::runtime_error);
}

TEST_CASE("a file that has just changed is read again, since its next change might not show") {
  const TemporaryFolder folder;
  CountedCache images(folder / "cache");
  const io::Path file = folder.write("a.png", "first");
  const auto time = fs::last_write_time(file);
  CHECK(images.image(file).pixels == pixels_of("first"));
  folder.write("a.png", "FIRST");
  fs::last_write_time(file, time);
  CHECK(images.image(file).pixels == pixels_of("FIRST"));
  CHECK(files_of(folder / "cache").size() == 2);
}

TEST_CASE("images of another size or fit are others") {
  const TemporaryFolder folder;
  const io::Path file = old_file(folder, "a.png", "bytes");
  CountedCache images(folder / "cache");
  CHECK(images.image(file).pixels == pixels_of("bytes"));
  data::ImageCache small(folder / "cache", 2), padded(folder / "cache", size, io::Fit::pad);
  const data::Pixels four(4, 2), sixteen(16, 4);
  CHECK(small.image(file, many, [&](std::string_view) { return four; }).pixels == four);
  CHECK(padded.image(file, many, [&](std::string_view) { return sixteen; }).pixels == sixteen);
  CHECK(images.image(file).pixels == pixels_of("bytes"));
  CHECK(images.decoded == 1);
  CHECK_THROWS_AS(data::ImageCache(folder / "cache", 0), std::invalid_argument);
  CHECK_THROWS_AS(data::ImageCache(folder / "more", 5).image(file, many, [&](auto) { return four; }),
                  std::invalid_argument);
}

TEST_CASE("whatever happens to a file of the cache, the image is right and the file is mended") {
  const TemporaryFolder folder;
  const io::Path cache = folder / "cache", file = old_file(folder, "a.png", "bytes");
  CountedCache images(cache);
  static_cast<void>(images.image(file));
  const auto sound = files_of(cache);
  REQUIRE(sound.size() == 2);
  const std::string bytes = sound.begin()->second;
  REQUIRE(bytes.size() == 40 + 2 * size * size);
  const auto check = [&](const std::string& damaged) {
    for (const auto& [name, whole] : sound) {
      fs::remove(cache / name);
      folder.write("cache/" + name, damaged);
    }
    if (images.image(file).pixels != pixels_of("bytes")) return false;
    return files_of(cache) == sound;
  };
  bool right = true;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
    right = right && check(damaged);
  }
  CHECK(right);
  CHECK(images.decoded == 1 + static_cast<int>(bytes.size()));
  for (const std::size_t length : {0, 1, 39, 40, 41, 71}) CHECK(check(bytes.substr(0, length)));
  CHECK(check(bytes + "x"));
  CHECK(check(std::string(bytes.size(), '\0')));
  std::string swapped = bytes;  // as a machine of the other byte order writes it
  for (std::size_t i = 0; i < 40; i += 8) std::reverse(swapped.begin() + i, swapped.begin() + i + 8);
  for (std::size_t i = 40; i < swapped.size(); i += 2) std::swap(swapped[i], swapped[i + 1]);
  CHECK(check(swapped));
  // A sound image of other contents under the first of the two names, and things that are no files.
  const int before = images.decoded;
  static_cast<void>(images.image(old_file(folder, "b.png", "other")));
  std::string other;
  for (const auto& [name, whole] : files_of(cache))
    if (!sound.contains(name)) other = whole;
  for (const auto& [name, whole] : sound) {
    if (images.image(file).pixels != pixels_of("bytes")) right = false;
    fs::remove(cache / name);
    ::mkfifo((cache / name).c_str(), 0600);
  }
  CHECK(right);
  CHECK(images.image(file).pixels == pixels_of("bytes"));
  CHECK(images.decoded > before);
}

TEST_CASE("an image under the name of another's contents is not taken for it") {
  const TemporaryFolder folder;
  const io::Path cache = folder / "cache";
  const io::Path a = folder.write("a.png", "a"), b = folder.write("b.png", "b");  // new: one name each
  CountedCache images(cache);
  static_cast<void>(images.image(a));
  const std::string name_of_a = files_of(cache).begin()->first;
  static_cast<void>(images.image(b));
  for (const auto& [name, whole] : files_of(cache))
    if (name != name_of_a)
      fs::copy_file(cache / name, cache / name_of_a, fs::copy_options::overwrite_existing);
  CHECK(images.image(a).pixels == pixels_of("a"));
  CHECK(images.decoded == 3);
}

TEST_CASE("a cache is its owner's alone, and what killed processes left in it goes after an hour") {
  const TemporaryFolder folder;
  const io::Path cache = folder / "deep/cache";
  {
    CountedCache images(cache);
    static_cast<void>(images.image(old_file(folder, "a.png", "a")));
  }
  const io::Path kept = cache / files_of(cache).begin()->first;
  for (const io::Path& path : {cache, cache / "temporary", kept.parent_path()}) {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0700);
  }
  const auto left = [&](const std::string& name, bool old) {
    const io::Path path = folder.write("deep/cache/temporary/" + name, "part");
    if (old) make_old(path);
    return path;
  };
  const auto two_hours = fs::file_time_type::clock::now() - std::chrono::hours(2);
  const io::Path old = left(".vlp-ab.12-3.tmp", false), fresh = left(".vlp-ab.12-4.tmp", true),
                 foreign = left("mine.txt", false);
  fs::last_write_time(old, two_hours);
  fs::last_write_time(foreign, two_hours);
  fs::last_write_time(fresh, fs::file_time_type::clock::now() - std::chrono::minutes(58));
  { const data::ImageCache opened(cache, size); }
  CHECK_FALSE(fs::exists(old));
  CHECK(fs::exists(fresh));
  CHECK(fs::exists(foreign));
  folder.write("file", "");
  CHECK_MESSAGE_HAS(data::ImageCache(folder / "file", size),
                    "file: not a folder, but a cache of images needs one");
}

TEST_CASE("where a cache cannot be written there is one note, and images are right") {
  const TemporaryFolder folder;
  const io::Path cache = folder / "cache", kept = old_file(folder, "a.png", "a"),
                 next = old_file(folder, "b.png", "b");
  { static_cast<void>(CountedCache(cache).image(kept)); }
  const auto before = files_of(cache);
  const auto reads_on = [&] {
    CountedCache images(cache);
    bool right = true;
    for (int epoch = 0; epoch < 2; ++epoch)
      right =
          right && images.image(kept).pixels == pixels_of("a") && images.image(next).pixels == pixels_of("b");
    const std::string note = images.cache.note();
    return right && images.decoded == 2 &&
           note.starts_with("the cache of images is read and not written: " + cache.string());
  };
  SECTION("a full disk") {
    CHECK(status_of_child([&] {  // no file grows beyond the header and some pixels
            ::signal(SIGXFSZ, SIG_IGN);
            const rlimit limit{60, 60};
            return ::setrlimit(RLIMIT_FSIZE, &limit) == 0 && reads_on();
          }) == 0);
  }
  SECTION("a folder that may be read only") {
    fs::permissions(folder.path(), fs::perms(0755));
    for (const auto& entry : fs::recursive_directory_iterator(cache))
      fs::permissions(entry.path(), fs::perms(entry.is_directory() ? 0555 : 0444));
    fs::permissions(cache, fs::perms(0555));
    CHECK(status_of_child([&] {
            if (::geteuid() == 0 && ::seteuid(65534) != 0) return false;
            return reads_on();
          }) == 0);
    fs::permissions(cache, fs::perms(0700));
    for (const auto& entry : fs::directory_iterator(cache)) fs::permissions(entry.path(), fs::perms(0700));
  }
  SECTION("a folder that has gone") {
    CountedCache images(cache);
    fs::remove_all(cache);
    CHECK(images.image(kept).pixels == pixels_of("a"));
    CHECK(images.image(next).pixels == pixels_of("b"));
    CHECK(images.cache.note().find("No such file or directory") != std::string::npos);
    return;
  }
  CHECK(files_of(cache) == before);
  CHECK(fs::is_empty(cache / "temporary"));
}

TEST_CASE("a process that is killed while it fills a cache leaves sound images to one that shares it") {
  const TemporaryFolder folder;
  constexpr int count = 40;
  std::vector<io::Path> files;
  for (int i = 0; i < count; ++i)
    files.push_back(old_file(folder, std::to_string(i) + ".png", std::to_string(i)));
  const auto is_right = [&](CountedCache& images, int i) {
    return images.image(files[static_cast<std::size_t>(i)]).pixels == pixels_of(std::to_string(i));
  };
  CountedCache reference(folder / "reference");
  for (int i = 0; i < count; ++i) REQUIRE(is_right(reference, i));
  const auto whole = files_of(folder / "reference");
  REQUIRE(whole.size() == 2 * count);

  Random random(1, 2);
  for (int round = 0; round < 3; ++round) {
    const io::Path cache = folder / ("cache" + std::to_string(round));
    CountedCache images(cache);
    const int last = 10 + static_cast<int>(random.below(10));
    const pid_t child = ::fork();
    if (child == 0) {
      // One thread kills the process while it makes an image; the other may be anywhere.
      CountedCache filling(cache);
      std::atomic<int> made{0};
      const auto fill = [&](int i) {
        static_cast<void>(filling.cache.image(files[static_cast<std::size_t>(i)], many, [&](auto bytes) {
          if (++made == last) ::kill(::getpid(), SIGKILL);
          return pixels_of(bytes);
        }));
      };
      std::thread other([&] {
        for (int i = 1; i < count; i += 2) fill(i);
      });
      for (int i = 0; i < count; i += 2) fill(i);
      other.join();
      ::_exit(0);
    }
    bool right = true;
    for (int i = count - 1; i > count - 5; --i) right = right && is_right(images, i);
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status));
    const auto found = files_of(cache);
    for (const auto& [name, bytes] : found) right = right && whole.contains(name) && whole.at(name) == bytes;
    CHECK(found.size() < whole.size());
    for (int i = 0; i < count; ++i) right = right && is_right(images, i);
    CHECK(right);
    CHECK(files_of(cache) == whole);
    CHECK(images.cache.note().empty());
    fs::remove_all(cache);
  }
}

TEST_CASE("threads and processes that fill one cache at the same time get right images") {
  const TemporaryFolder folder;
  constexpr int count = 40;
  for (int i = 0; i < count; ++i) old_file(folder, std::to_string(i) + ".png", std::to_string(i % 20));
  const auto all_right = [&] {
    CountedCache images(folder / "cache");
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < count; ++i)
          wrong +=
              images.image(folder / (std::to_string(i) + ".png")).pixels != pixels_of(std::to_string(i % 20));
      });
    for (std::thread& thread : threads) thread.join();
    return wrong == 0 && images.cache.note().empty();
  };
  std::vector<pid_t> children;
  for (int c = 0; c < 2; ++c) {
    children.push_back(::fork());
    if (children.back() == 0) ::_exit(all_right() ? 0 : 1);
  }
  CHECK(all_right());
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  CHECK(fs::is_empty(folder / "cache/temporary"));
  CHECK(files_of(folder / "cache").size() == 60);  // 20 contents, 40 files
}
