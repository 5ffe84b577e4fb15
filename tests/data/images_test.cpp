// Images in memory and images that are decoded when they are asked for.
#include "data/small_table.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vlp/data/dataset.hpp>
#include <vlp/data/images.hpp>
#include <vlp/data/pair_batch.hpp>
#include <vlp/text/build_vocabulary.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace vlp;
using data::ReadImages;
using test::message_of;
using test::table_of;
using test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

data::DatasetOptions options_of(ReadImages when) {
  data::DatasetOptions options;
  options.image_size = 8;
  options.held_out = 0.3;
  options.read_images = when;
  return options;
}

/// All pairs of one side as one batch, with perturbations.
data::PairBatch batch_of(const data::Dataset& dataset, const std::vector<data::Example>& examples) {
  const text::WordPiece pieces(
      text::build_vocabulary(std::vector<std::string>{"finding number 0 1 2 3 4 normal ."}, {.size = 100}));
  data::PairBatchMaker maker({.image_size = 8}, pieces, text::parse_perturbations("6,9"));
  std::vector<Index> indices(examples.size());
  std::iota(indices.rbegin(), indices.rend(), Index{0});
  return maker.make(*dataset.images, examples, indices, 1);
}

bool same(const data::PairBatch& a, const data::PairBatch& b) {
  return a.pairs == b.pairs && a.examples == b.examples && a.images == b.images && a.pieces == b.pieces &&
         a.offsets == b.offsets && a.word_slot == b.word_slot && a.word_count == b.word_count &&
         a.valid == b.valid && a.group == b.group && a.max_words == b.max_words;
}

/// Files that are never read, and a decoder that a test makes.
data::Images images_of(const TemporaryFolder& folder, int count, io::ImageDecoder decode,
                       data::ImagesOptions options = {}) {
  std::vector<data::ImageFile> files;
  for (int i = 0; i < count; ++i)
    files.push_back({folder.write(std::to_string(i), std::to_string(i)), i + 2});
  options.reading = {.image_size = 2, .decode = std::move(decode)};
  return {std::move(files), std::move(options)};
}

std::vector<std::int64_t> numbers(int count) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), std::int64_t{0});
  return ids;
}

/// An image of one value, which is a file's contents in thousandths.
io::GrayImage plain(std::string_view bytes) {
  io::GrayImage image = io::make_gray_image(2, 2);
  std::ranges::fill(image.pixels, static_cast<float>(std::stoi(std::string(bytes))) / 1000);
  return image;
}

io::GrayImage decode_plain(std::string_view bytes, const std::string&, Index, const io::Admit& admit) {
  if (admit) admit(4);
  return plain(bytes);
}

void pause(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

}  // namespace

TEST_CASE("an image goes into 16 bits and back") {
  io::GrayImage image = io::make_gray_image(2, 2);
  image.pixels = {0.0f, 1.0f, 0.5f, -3.0f};
  const data::Images images(2, {data::to_pixels(image), {}});
  CHECK(data::Pixels(images.pixels(0).begin(), images.pixels(0).end()) == data::Pixels{0, 65535, 32768, 0});
  CHECK(std::abs(images.image(0).pixels[2] - 0.5f) < 1e-5f);
  CHECK(images.image(0).pixels[1] == 1.0f);
  const auto refused = [&](auto action) { return message_of<std::invalid_argument>(action); };
  CHECK(refused([&] { static_cast<void>(images.image(1)); }) == "Images: image 1 was left out");
  for (const std::int64_t id : {-1, 2}) {
    CHECK(refused([&] { static_cast<void>(images.image(id)); }) ==
          "Images: there is no image " + std::to_string(id) + " among 2");
    CHECK_THROWS_AS(images.pixels(id), std::invalid_argument);
  }
  CHECK(refused([] {
          data::Images(2, {data::Pixels(4), data::Pixels(3)});
        }) == "Images: 3 pixels of image 1 are not an image of 2 x 2");
  CHECK_THROWS_AS(data::Images(0, {}), std::invalid_argument);
}

TEST_CASE("an image that cannot be read is named by the table that names it") {
  const TemporaryFolder folder;
  data::Collection collection;
  collection.path = "folder";
  for (int i = 0; i < 4; ++i) {
    const std::string number = std::to_string(i);
    collection.entries.push_back({.image = folder.write(number + ".png", "damaged " + number),
                                  .report = "Report " + number + ".",
                                  .split = i < 2 ? "train" : "valid",
                                  .line = i % 2 + 2,
                                  .table = i < 2 ? "train.csv" : "valid.csv"});
  }
  Cpu device(1);
  const data::Dataset dataset =
      data::read_dataset(device, collection, {.image_size = 8, .read_images = data::ReadImages::ahead});
  auto request = dataset.images->request(numbers(4));
  const std::string message = message_of([&] { request.wait(); });
  INFO(message);
  CHECK(message.starts_with("train.csv:2: "));
  CHECK(message.find("valid.csv:2: ") != std::string::npos);
}

TEST_CASE("batches are the same bits whenever, by however many threads and from whatever cache images come") {
  const TemporaryFolder folder;
  Cpu device(2);
  auto table = table_of(folder, 20);
  table.entries[3].image = table.entries[4].image;  // of one image, once in a batch
  const data::Dataset first = data::read_dataset(device, table, options_of(ReadImages::first));
  CHECK(first.images->in_memory());
  const data::PairBatch train = batch_of(first, first.train), held_out = batch_of(first, first.held_out);
  CHECK(train.pairs == 14);
  CHECK(train.pairs + held_out.pairs == 20);
  for (const ReadImages when : {ReadImages::ahead, ReadImages::first})
    for (const int threads : when == ReadImages::first ? std::vector{0} : std::vector{0, 1, 5})
      for (const char* cache : {"", "empty", "filled", "damaged"}) {
        CAPTURE(to_text(when), threads, cache);
        data::DatasetOptions options = options_of(when);
        options.image_threads = threads;
        if (*cache != '\0') options.image_cache = folder / "cache";
        if (std::string(cache) == "damaged")
          for (const auto& entry : fs::recursive_directory_iterator(folder / "cache"))
            if (entry.is_regular_file()) fs::resize_file(entry.path(), entry.file_size() / 2);
        if (std::string(cache) == "empty") fs::remove_all(folder / "cache");
        const data::Dataset dataset = data::read_dataset(device, table, options);
        CHECK(dataset.images->in_memory() == (when == ReadImages::first));
        CHECK(same(batch_of(dataset, dataset.train), train));
        CHECK(same(batch_of(dataset, dataset.held_out), held_out));
        const std::int64_t id = first.held_out[0].image_id;
        CHECK(dataset.images->image(id).pixels == first.images->image(id).pixels);
        CHECK(dataset.images->notes().empty());
        CHECK(dataset.images->faults().empty());
        CHECK(dataset.train[0].source == (when == ReadImages::first ? first.train[0].source : 0));
        CHECK(dataset.train[0].source_bytes == fs::file_size(first.train[0].name));
      }
}

TEST_CASE("images are read ahead for large tables, if nothing else is said") {
  const auto ahead = [](ReadImages when, std::size_t entries) {
    return data::detail::are_read_ahead(options_of(when), entries);
  };
  CHECK_FALSE(ahead(ReadImages::automatic, 20'000));
  CHECK(ahead(ReadImages::automatic, 20'001));
  CHECK_FALSE(ahead(ReadImages::first, 1'000'000));
  CHECK(ahead(ReadImages::ahead, 2));
}

TEST_CASE("a collection of labels needs no reports where they are not asked for") {
  const TemporaryFolder folder;
  Cpu device(1);
  auto table = table_of(folder, 10);
  table.labels = {"Edema", "Pneumonia"};
  for (std::size_t i = 0; i < 10; ++i) {
    data::Entry& entry = table.entries[i];
    if (i > 0) entry.report = entry.findings = entry.impression = "";
    entry.labels = {data::Label::positive, i % 2 == 0 ? data::Label::negative : data::Label::unknown};
  }
  data::DatasetOptions options = options_of(ReadImages::first);
  CHECK_MESSAGE_HAS(data::read_dataset(device, table, options),
                    "table.csv: 1 pairs to train on and 0 held out");
  table.entries[0].report = table.entries[0].findings = table.entries[0].impression = "";
  CHECK_MESSAGE_HAS(data::read_dataset(device, table, options),
                    "table.csv: has labels and no reports, which pretraining needs");
  options.with_reports = false;
  const data::Dataset dataset = data::read_dataset(device, table, options);
  CHECK(dataset.train.size() == 7);
  CHECK(dataset.held_out.size() == 3);
  CHECK(dataset.labels == table.labels);
  CHECK(dataset.notes.back() == "7 images to train on, 3 held out");
  CHECK(dataset.train[0].labels.size() == 2);
  CHECK(dataset.train[0].labels[0] == data::Label::positive);
  table.labels.clear();
  CHECK_MESSAGE_HAS(data::read_dataset(device, table, options_of(ReadImages::first)),
                    "table.csv: has no reports, which pretraining needs");
}

TEST_CASE("reading images first is told of as it goes on") {
  const TemporaryFolder folder;
  Cpu device(2);
  const auto table = table_of(folder, 9);
  data::DatasetOptions options = options_of(ReadImages::first);
  std::vector<Index> told;
  options.progress = [&](std::string_view kind, Index done, Index total) {
    CHECK(kind == "images");
    CHECK(total == 9);
    told.push_back(done);
  };
  static_cast<void>(data::read_dataset(device, table, options));
  CHECK(told == std::vector<Index>{1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("images that cannot be read later on are all named by line and file, or left out of their batch") {
  const TemporaryFolder folder;
  Cpu device(2);
  auto table = table_of(folder, 10);
  table.entries[7].image = table.entries[6].image;
  for (data::Entry& entry : table.entries) entry.split = entry.line < 5 ? "test" : "train";
  const data::Dataset sound = data::read_dataset(device, table, options_of(ReadImages::ahead));
  const data::PairBatch whole = batch_of(sound, sound.train);
  for (const char* name : {"image4.png", "image6.png"}) folder.write(name, "no image at all");
  const std::string named = "table.csv:6: " + (folder / "image4.png").string() +
                            ": neither a PNG nor a JPEG image; line 8: " + (folder / "image6.png").string() +
                            ": neither a PNG nor a JPEG image";

  data::DatasetOptions options = options_of(ReadImages::ahead);
  const data::Dataset stopping = data::read_dataset(device, table, options);  // nothing is decoded yet
  CHECK(message_of([&] { batch_of(stopping, stopping.train); }) ==
        named +
            " (once these files are mended, the run goes on with --resume; bad-rows skip would leave them "
            "out)");
  CHECK(stopping.images->faults().size() == 2);

  options.bad_rows = data::BadRows::skip;
  options.image_cache = folder / "cache";
  const data::Dataset skipping = data::read_dataset(device, table, options);
  const data::PairBatch batch = batch_of(skipping, skipping.train);
  CHECK(batch.pairs == 4);
  CHECK(batch.examples == std::vector<Index>{6, 5, 2, 0});
  CHECK(batch.images.size() == 4 * 64);
  CHECK(batch.valid.size() == 4 * 3);
  CHECK(batch.offsets.size() == 4 * 3 + 1);
  CHECK(batch.group.size() == 4);
  CHECK(batch.word_count.size() == 4);
  CHECK(same(batch, batch_of(skipping, skipping.train)));
  // The others are as they were: the first is, and so is its text.
  CHECK(std::equal(batch.images.begin(), batch.images.begin() + 64, whole.images.begin()));
  CHECK(std::equal(batch.images.end() - 64, batch.images.end(), whole.images.end() - 64));
  CHECK(std::vector(batch.pieces.begin(), batch.pieces.begin() + batch.offsets[3]) ==
        std::vector(whole.pieces.begin(), whole.pieces.begin() + whole.offsets[3]));
  CHECK(skipping.images->notes() ==
        std::vector<std::string>{"2 images could not be read, and pairs of them were left out: " + named});
  CHECK_MESSAGE_HAS(skipping.images->image(skipping.train[1].image_id), "image4.png: neither");
  // A file that is mended is there again.
  fs::copy_file(folder / "image1.png", folder / "image4.png", fs::copy_options::overwrite_existing);
  CHECK(batch_of(skipping, skipping.train).pairs == 5);
  // One that is gone is known before anything is decoded.
  fs::remove(folder / "image5.png");
  options.bad_rows = data::BadRows::stop;
  CHECK_MESSAGE_HAS(data::read_dataset(device, table, options),
                    "table.csv:7: ", "image5.png: cannot open: No such file or directory");
}

TEST_CASE("a batch none of whose images can be read is empty where they are left out") {
  const TemporaryFolder folder;
  const auto images =
      images_of(folder, 3,
                [](std::string_view, const std::string& name, Index, const io::Admit&) -> io::GrayImage {
                  throw std::runtime_error(name + ": damaged");
                },
                {.bad_rows = data::BadRows::skip});
  auto request = images.request(numbers(3));
  request.wait();
  for (std::size_t i = 0; i < 3; ++i) CHECK(request.pixels(i).empty());
  CHECK(images.faults().size() == 3);
  CHECK(images.faults()[1].line == 3);
}

TEST_CASE("no more images are decoded at the same time than there are threads, each of a request once") {
  const TemporaryFolder folder;
  for (const int threads : {1, 3}) {
    std::atomic<int> now{0}, most{0}, all{0};
    const auto images =
        images_of(folder, 40,
                  [&](std::string_view bytes, const std::string&, Index, const io::Admit&) {
                    const int count = ++now;
                    for (int seen = most; seen < count && !most.compare_exchange_weak(seen, count);) {
                    }
                    ++all;
                    pause(1);
                    --now;
                    return plain(bytes);
                  },
                  {.threads = threads});
    auto ids = numbers(40);
    ids.insert(ids.end(), ids.begin(), ids.end());
    auto one = images.request(ids), other = images.request(numbers(5));
    other.wait();
    one.wait();
    CHECK(most == threads);
    CHECK(all == 45);
    for (std::size_t i = 0; i < ids.size(); ++i)
      CHECK(one.pixels(i)[3] == std::lround(65.535 * static_cast<double>(ids[i])));
    CHECK(other.pixels(4)[0] == 262);
  }
}

TEST_CASE("waiting for images ends within a second when it is asked to, from any thread") {
  const TemporaryFolder folder;
  std::atomic<bool> flag{false};
  std::atomic<int> decoded{0};
  const auto images = images_of(folder, 60,
                                [&](std::string_view bytes, const std::string&, Index, const io::Admit&) {
                                  ++decoded;
                                  pause(50);
                                  return plain(bytes);
                                },
                                {.threads = 2, .stop = StopToken(flag)});
  const auto start = Clock::now();
  std::jthread raises([&] {
    pause(60);
    flag = true;
  });
  {
    auto request = images.request(numbers(60));
    CHECK_THROWS_AS(request.wait(), Stopped);
  }
  CHECK(seconds_since(start) < 1);
  pause(60);
  CHECK(decoded < 20);  // the rest was cancelled with its request
  CHECK(images.faults().empty());
}

TEST_CASE("images and requests may end in any order while images are decoded") {
  const TemporaryFolder folder;
  std::atomic<int> decoded{0};
  const auto slow = [&](std::string_view bytes, const std::string&, Index, const io::Admit&) {
    ++decoded;
    pause(20);
    return plain(bytes);
  };
  auto images = std::make_unique<data::Images>(images_of(folder, 100, slow, {.threads = 2}));
  {
    auto dropped = images->request(numbers(100));
    auto moved = std::move(dropped);
  }
  auto request = images->request(numbers(7));
  { auto never_waited_for = images->request(numbers(100)); }
  images.reset();
  request.wait();
  CHECK(request.pixels(6)[0] == 393);
  { auto last = std::move(request); }
  {
    const auto others = images_of(folder, 100, slow, {.threads = 2});
    auto pending = others.request(numbers(100));
  }
  CHECK(decoded < 40);
}

TEST_CASE("what decoding throws arrives where the images are waited for") {
  const TemporaryFolder folder;
  for (const data::BadRows policy : {data::BadRows::stop, data::BadRows::skip}) {
    const auto images = images_of(folder, 9,
                                  [&](std::string_view bytes, const std::string&, Index, const io::Admit&) {
                                    if (bytes == "3") throw std::bad_alloc();
                                    if (bytes == "5") throw std::logic_error("a mistake of the decoder's");
                                    return plain(bytes);
                                  },
                                  {.bad_rows = policy});
    auto request = images.request(numbers(5));
    CHECK_THROWS_AS(request.wait(), std::bad_alloc);
    const std::vector<std::int64_t> five{5};
    auto wrong = images.request(five);
    CHECK_THROWS_AS(wrong.wait(), std::logic_error);
    CHECK(images.image(4).pixels[0] > 0);
    CHECK(images.faults().empty());
    const std::vector<std::int64_t> outside{4, 9};
    CHECK(message_of<std::invalid_argument>([&] { static_cast<void>(images.request(outside)); }) ==
          "Images: there is no image 9 among 9");
  }
  CHECK_THROWS_AS(images_of(folder, 1, decode_plain, {.threads = -1}), std::invalid_argument);
}

TEST_CASE("without threads, whoever waits decodes") {
  int read = 0;
  data::detail::ImagePool pool(0, 100, [&](std::int64_t id, data::detail::PixelBudget&) {
    ++read;
    return data::Pixels{static_cast<std::uint16_t>(id)};
  });
  const auto order = std::make_shared<data::detail::ImageOrder>();
  order->ids = {4, 7};
  pool.add(order);
  pool.wait_for(*order, {});
  CHECK(read == 2);
  CHECK(order->outcomes[1].pixels == data::Pixels{7});
}

TEST_CASE("a process that is forked while images are decoded decodes on threads of its own, and ends") {
  const TemporaryFolder folder;
  const auto images =
      images_of(folder, 100, [](std::string_view bytes, const std::string&, Index, const io::Admit& admit) {
        admit(4);
        pause(1);
        return plain(bytes);
      });
  auto before = images.request(numbers(100));
  pause(5);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(10);
    {
      const data::Images in_child = images;
      before.wait();
      auto after = in_child.request(numbers(20));
      after.wait();
      if (before.pixels(99)[0] != 6488 || after.pixels(19)[0] != 1245) ::_exit(1);
    }
    ::_exit(0);
  }
  before.wait();
  CHECK(before.pixels(99)[0] == 6488);
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
}
