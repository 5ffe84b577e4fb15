/// \file
/// Images that are read before training: into memory, or of their files just the sizes.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/detail/image_reader.hpp>
#include <vlp/data/detail/pixel_budget.hpp>
#include <vlp/data/image_cache.hpp>
#include <vlp/data/images.hpp>
#include <vlp/data/read_progress.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::data::detail {

/// Throws std::runtime_error unless `count` images of that size fit into this machine's memory.
inline void require_memory(std::size_t count, Index image_size, std::string_view cure) {
  constexpr double gib = 1 << 30;
  const double wanted = 2.0 * static_cast<double>(count) * static_cast<double>(image_size * image_size) / gib;
  const double present = memory_present() / gib;
  ensure(wanted < present, count, " images of ", image_size, " x ", image_size, " pixels take ",
         std::ceil(wanted), " GiB of memory, but this machine has ", std::floor(present),
         "; a smaller image-size or ", cure, " would do");
}

/// Calls `work(i)` for each i in [0, count) on all threads, until it is to stop. Returns what it threw.
/// Throws Stopped.
template <class Work>
std::vector<std::exception_ptr> for_each_index(Cpu& device, std::size_t count, StopToken stop, Work&& work) {
  std::vector<std::exception_ptr> errors(count);
  device.parallel_for(static_cast<Index>(count), [&](Index task, int) {
    const auto i = static_cast<std::size_t>(task);
    if (stop.requested()) return;
    try {
      work(i);
    } catch (...) {
      errors[i] = std::current_exception();
    }
  });
  stop.check();
  return errors;
}

/// The outcome of reading image files before training, by the numbers of images.
struct FirstReading {
  std::vector<ResizedImage> images;  ///< pixels alone where images are read ahead
  std::vector<std::exception_ptr> errors;
  std::string note;  ///< for the user, about the cache; may be empty
};

/// Reads all files, except those without a path.
inline FirstReading read_images(Cpu& device, const std::vector<ImageFile>& files, const ImageReading& options,
                                const ReadProgress& progress, StopToken stop) {
  FirstReading out;
  out.images.resize(files.size());
  Index total = 0, done = 0;
  for (const ImageFile& file : files) total += !file.path.empty();
  std::mutex mutex;
  PixelBudget budget(decoded_pixels());
  const ImageReader reader(options);
  const auto count = [&] {
    if (!progress) return;
    const std::lock_guard lock(mutex);
    progress("images", ++done, total);
  };
  out.errors = for_each_index(device, files.size(), stop, [&](std::size_t i) {
    if (files[i].path.empty()) return;
    try {
      out.images[i] = reader.read(files[i].path, budget);
    } catch (...) {
      count();
      throw;
    }
    count();
  });
  out.note = reader.note();
  return out;
}

/// Notes the sizes of all files, except those without a path.
inline FirstReading read_sizes(Cpu& device, const std::vector<ImageFile>& files, StopToken stop) {
  FirstReading out;
  out.images.resize(files.size());
  out.errors = for_each_index(device, files.size(), stop, [&](std::size_t i) {
    if (!files[i].path.empty()) out.images[i].source_bytes = state_of(files[i].path).bytes;
  });
  return out;
}

}  // namespace vlp::data::detail
