/// \file
/// The images of a dataset by their numbers: in memory, or in files that threads decode when a batch asks for
/// them.
#pragma once

#include <vlp/core/detail/processors.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/detail/image_pool.hpp>
#include <vlp/data/detail/image_reader.hpp>
#include <vlp/data/image_cache.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vlp::data {

/// An image file of a table.
struct ImageFile {
  io::Path path;
  Index line = 0;          ///< of the table, counted from 1: where the image is first named
  std::string table = {};  ///< the table; empty where it is ImagesOptions::table
};

/// How images are decoded while they are asked for.
struct ImagesOptions {
  ImageReading reading = {};
  int threads = 0;                   ///< that decode; 0: one for each processor, four at most
  std::string table = "images";      ///< the table that names the images, for messages
  BadRows bad_rows = BadRows::stop;  ///< for images that cannot be read; see Images::Request::wait
  StopToken stop = {};               ///< asked while images are waited for
};

namespace detail {

/// The pixels as an image with values in [0, 1].
inline io::GrayImage gray_image(std::span<const std::uint16_t> pixels, Index image_size) {
  io::GrayImage image = io::make_gray_image(image_size, image_size);
  std::transform(pixels.begin(), pixels.end(), image.pixels.begin(),
                 [](std::uint16_t pixel) { return static_cast<float>(pixel) / 65535.0f; });
  return image;
}

/// State that Images and its requests share.
class ImageSource {
 public:
  ImageSource(Index image_size, std::vector<Pixels> pixels)
      : image_size_(image_size), pixels_(std::move(pixels)) {}
  ImageSource(std::vector<ImageFile> files, ImagesOptions options)
      : image_size_(options.reading.image_size),
        files_(std::move(files)),
        options_(std::move(options)),
        reader_(std::make_unique<ImageReader>(options_.reading)) {}
  ImageSource(const ImageSource&) = delete;
  ImageSource& operator=(const ImageSource&) = delete;
  ~ImageSource() { leave_pool_of_parent(); }

  [[nodiscard]] Index image_size() const { return image_size_; }
  [[nodiscard]] bool in_memory() const { return reader_ == nullptr; }
  [[nodiscard]] std::size_t size() const { return in_memory() ? pixels_.size() : files_.size(); }
  [[nodiscard]] const Pixels& pixels(std::int64_t id) const { return pixels_[static_cast<std::size_t>(id)]; }
  [[nodiscard]] const ImagesOptions& options() const { return options_; }

  /// The threads of this process; they start with the first images that are asked for.
  [[nodiscard]] std::shared_ptr<ImagePool> pool() {
    const std::lock_guard lock(mutex_);
    leave_pool_of_parent();
    if (!pool_) {
      const int threads =
          options_.threads > 0 ? options_.threads : std::min(4, vlp::detail::usable_processors());
      pool_ = std::make_shared<ImagePool>(
          threads, decoded_pixels(), [this](std::int64_t id, PixelBudget& budget) {
            return reader_->read(files_[static_cast<std::size_t>(id)].path, budget).pixels;
          });
    }
    return pool_;
  }

  /// Takes note of an image that could not be read. Rethrows an error that is not the file's.
  BadRow note_fault(std::int64_t id, const std::exception_ptr& error) {
    const ImageFile& file = files_[static_cast<std::size_t>(id)];
    BadRow row{file.line, {}, file.table};
    try {
      std::rethrow_exception(error);
    } catch (const Stopped&) {
      throw;
    } catch (const std::runtime_error& fault) {
      row.what = fault.what();
    }
    const std::lock_guard lock(mutex_);
    faults_.insert_or_assign(id, row);
    return row;
  }

  [[nodiscard]] std::vector<BadRow> faults() const {
    const std::lock_guard lock(mutex_);
    std::vector<BadRow> rows;
    for (const auto& [id, row] : faults_) rows.push_back(row);
    return rows;
  }
  [[nodiscard]] std::string cache_note() const { return in_memory() ? std::string() : reader_->note(); }

 private:
  /// After a fork the threads are the parent's; they can be neither joined nor let go of.
  void leave_pool_of_parent() {
    if (!pool_ || pool_->is_of_this_process()) return;
    static auto* const left_behind = new std::vector<std::shared_ptr<ImagePool>>;
    left_behind->push_back(std::move(pool_));
    pool_ = nullptr;
  }

  Index image_size_;
  std::vector<Pixels> pixels_;    // of images in memory
  std::vector<ImageFile> files_;  // of images that are decoded when asked for
  ImagesOptions options_;
  std::unique_ptr<ImageReader> reader_;
  mutable std::mutex mutex_;
  std::map<std::int64_t, BadRow> faults_;
  std::shared_ptr<ImagePool> pool_;  // last: its threads use all of these
};

}  // namespace detail

/// The images of a dataset, each once, by their numbers 0, 1, 2, ... (Example::image_id), all of one size.
/// Serves any number of threads. Images are either in memory, or files that are decoded by threads of this
/// object's own when they are asked for; then the memory that is taken is that of the images asked for and
/// not yet let go of, and of one image for each thread that decodes. Pixels are the same either way.
///
/// The threads start with the first images that are asked for. A process that was forked after that decodes
/// on threads of its own.
class Images {
 public:
  class Request;

  /// Images in memory: the pixels [image_size, image_size] of each, empty for one that is never asked for.
  /// Throws std::invalid_argument for pixels of another size.
  Images(Index image_size, std::vector<Pixels> pixels) {
    require(image_size > 0, "Images: image_size must be positive, but is ", image_size);
    for (std::size_t i = 0; i < pixels.size(); ++i)
      require(pixels[i].empty() || static_cast<Index>(pixels[i].size()) == image_size * image_size,
              "Images: ", pixels[i].size(), " pixels of image ", i, " are not an image of ", image_size,
              " x ", image_size);
    source_ = std::make_shared<detail::ImageSource>(image_size, std::move(pixels));
  }
  /// Images that are decoded when they are asked for. Throws std::invalid_argument for an option out of
  /// range, and what ImageCache throws.
  Images(std::vector<ImageFile> files, ImagesOptions options) {
    require(options.reading.image_size > 0, "Images: image_size must be positive, but is ",
            options.reading.image_size);
    require_range("image-threads", options.threads, 0, vlp::detail::most_threads);
    source_ = std::make_shared<detail::ImageSource>(std::move(files), std::move(options));
  }

  /// Pixels along an edge of every image.
  [[nodiscard]] Index image_size() const { return source_->image_size(); }
  /// How many images there are.
  [[nodiscard]] std::size_t size() const { return source_->size(); }
  [[nodiscard]] bool in_memory() const { return source_->in_memory(); }

  /// Asks for images, which threads begin to decode. Images may be asked for twice. Throws
  /// std::invalid_argument, naming the number, for an image that is not there.
  [[nodiscard]] Request request(std::span<const std::int64_t> ids) const;

  /// One image, in [0, 1]. Throws std::runtime_error if it cannot be read, whatever the policy.
  [[nodiscard]] io::GrayImage image(std::int64_t id) const;

  /// The pixels of an image in memory. Throws std::invalid_argument where there is none.
  [[nodiscard]] std::span<const std::uint16_t> pixels(std::int64_t id) const {
    require(in_memory() && id >= 0 && static_cast<std::size_t>(id) < size(), "Images: image ", id,
            " is not in memory");
    return source_->pixels(id);
  }

  /// The images that could not be read so far, by the lines of the table.
  [[nodiscard]] std::vector<BadRow> faults() const { return source_->faults(); }

  /// Sentences for the user about what has happened so far: images that were left out, a cache that cannot be
  /// written.
  [[nodiscard]] std::vector<std::string> notes() const {
    std::vector<std::string> notes;
    if (const std::vector<BadRow> rows = faults(); !rows.empty())
      notes.push_back(concat(rows.size(), rows.size() == 1 ? " image" : " images",
                             " could not be read, and pairs of ", rows.size() == 1 ? "it" : "them",
                             " were left out: ", describe(source_->options().table, rows)));
    if (std::string note = source_->cache_note(); !note.empty()) notes.push_back(std::move(note));
    return notes;
  }

 private:
  std::shared_ptr<detail::ImageSource> source_;
};

/// Images that were asked for together. What is no longer needed when it ends is not decoded. To be used by
/// one thread; it may outlive its Images.
class Images::Request {
 public:
  Request(std::shared_ptr<detail::ImageSource> source, std::span<const std::int64_t> ids)
      : source_(std::move(source)), ids_(ids.begin(), ids.end()) {
    for (const std::int64_t id : ids_)
      require(id >= 0 && static_cast<std::size_t>(id) < source_->size(), "Images: there is no image ", id,
              " among ", source_->size());
    if (!source_->in_memory()) order();
  }
  Request(Request&&) noexcept = default;
  Request& operator=(Request&&) = delete;
  ~Request() {
    if (pool_ && pool_->is_of_this_process()) pool_->cancel(*order_);
  }

  /// Waits until all images are there. By BadRows::stop, images that cannot be read end in a
  /// std::runtime_error that names all of them, up to 20, by line and file; by BadRows::skip they have no
  /// pixels. Throws Stopped where it is asked to stop, and what else reading an image threw.
  void wait() {
    if (source_->in_memory()) return;
    finish();
    std::vector<BadRow> rows;
    for (std::size_t k = 0; k < order_->ids.size(); ++k)
      if (const auto& error = order_->outcomes[k].error)
        rows.push_back(source_->note_fault(order_->ids[k], error));
    ensure(rows.empty() || source_->options().bad_rows == BadRows::skip,
           describe(source_->options().table, rows), " (once ",
           rows.size() > 1 ? "these files are" : "the file is",
           " mended, the run goes on with --resume; bad-rows skip would leave ",
           rows.size() > 1 ? "them" : "it", " out)");
  }

  /// The pixels of the image `i` of those asked for, once they are there; empty for one that cannot be read.
  [[nodiscard]] std::span<const std::uint16_t> pixels(std::size_t i) const {
    return source_->in_memory() ? std::span<const std::uint16_t>(source_->pixels(ids_[i]))
                                : order_->outcomes[places_[i]].pixels;
  }
  [[nodiscard]] std::size_t size() const { return ids_.size(); }

 private:
  friend class Images;

  void order() {
    order_ = std::make_shared<detail::ImageOrder>();
    places_.clear();
    std::unordered_map<std::int64_t, std::size_t> places;
    for (const std::int64_t id : ids_) {
      const auto [place, is_new] = places.emplace(id, order_->ids.size());
      if (is_new) order_->ids.push_back(id);
      places_.push_back(place->second);
    }
    pool_ = source_->pool();
    pool_->add(order_);
  }

  void finish() {
    if (!pool_->is_of_this_process()) order();  // asked for before a fork, which left the threads behind
    pool_->wait_for(*order_, source_->options().stop);
  }

  std::shared_ptr<detail::ImageSource> source_;
  std::vector<std::int64_t> ids_;
  std::shared_ptr<detail::ImageOrder> order_;  // null where images are in memory
  std::vector<std::size_t> places_;            // [ids] in the order
  std::shared_ptr<detail::ImagePool> pool_;
};

inline Images::Request Images::request(std::span<const std::int64_t> ids) const {
  return Request(source_, ids);
}

inline io::GrayImage Images::image(std::int64_t id) const {
  Request request(source_, std::span(&id, 1));
  if (!source_->in_memory()) {
    request.finish();
    if (const auto& error = request.order_->outcomes.front().error) std::rethrow_exception(error);
  }
  const std::span<const std::uint16_t> pixels = request.pixels(0);
  require(!pixels.empty(), "Images: image ", id, " was left out");
  return detail::gray_image(pixels, image_size());
}

}  // namespace vlp::data
