// How fast radiographs are decoded, alone and as a data set does it, and pictures encoded.
//
// The radiographs are drawn, with grain, as grey images of EDGE x EDGE pixels. One iteration is one image, or
// a batch of images where they are asked for by THREADS threads; items are images. `bits` a pixel says how
// well the file compresses, `cache` how many bytes an image takes in a cache.
#include <cstddef>
#include <cstdio>
// libjpeg's own header needs what stands above it.
#include <jpeglib.h>
//
#include "builtin/study.hpp"

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <vlp/data/images.hpp>
#include <vlp/io/decode_square.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace io = vlp::io;

std::vector<std::uint8_t> radiograph(std::int64_t edge) {
  const io::GrayImage image = vlp::builtin::draw_study(0, 3, edge).image;
  std::vector<std::uint8_t> samples;
  for (const float pixel : image.pixels)
    samples.push_back(static_cast<std::uint8_t>(std::lround(255.0F * pixel)));
  return samples;
}

std::string png_of(std::int64_t edge) {
  return io::detail::PngWriter("a picture").write(edge, edge, 1, radiograph(edge).data());
}

std::string jpeg_of(std::int64_t edge, bool progressive) {
  std::vector<std::uint8_t> samples = radiograph(edge);
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_width = jpeg.image_height = static_cast<JDIMENSION>(edge);
  jpeg.input_components = 1;
  jpeg.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 90, TRUE);
  if (progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  for (std::uint8_t* row = samples.data(); jpeg.next_scanline < jpeg.image_height; row += edge)
    jpeg_write_scanlines(&jpeg, &row, 1);
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::string file(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return file;
}

void note(benchmark::State& state, const std::string& file) {
  state.SetItemsProcessed(state.iterations());
  state.counters["bits"] =
      8.0 * static_cast<double>(file.size()) / static_cast<double>(state.range(0) * state.range(0));
}

void decode(benchmark::State& state, const std::string& file) {
  for (auto _ : state) benchmark::DoNotOptimize(io::decode_image(file, "a radiograph").pixels.data());
  note(state, file);
}

void decode_png(benchmark::State& state) {
  decode(state, png_of(state.range(0)));
}
void decode_jpeg(benchmark::State& state) {
  decode(state, jpeg_of(state.range(0), false));
}
void decode_progressive_jpeg(benchmark::State& state) {
  decode(state, jpeg_of(state.range(0), true));
}

/// Decodes and resizes as training does.
void decode_square(benchmark::State& state) {
  const std::string file = jpeg_of(state.range(0), false);
  for (auto _ : state) benchmark::DoNotOptimize(io::decode_square(file, "a radiograph", 224).pixels.data());
  note(state, file);
}

/// A folder of different JPEG files, written an hour ago, that goes with this.
class Radiographs {
 public:
  Radiographs(std::int64_t edge, std::int64_t count)
      : folder_(std::filesystem::temp_directory_path() / vlp::concat("vlp_benchmark_io_", ::getpid())) {
    std::filesystem::create_directory(folder_);
    const std::string file = jpeg_of(edge, false);
    for (std::int64_t i = 0; i < count; ++i) {
      files_.push_back({folder_ / (std::to_string(i) + ".jpg"), i + 2});
      std::ofstream(files_.back().path, std::ios::binary)
          << file << i;  // bytes behind the end change no pixel
      std::filesystem::last_write_time(files_.back().path,
                                       std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
    }
  }
  Radiographs(const Radiographs&) = delete;
  Radiographs& operator=(const Radiographs&) = delete;
  ~Radiographs() { std::filesystem::remove_all(folder_); }

  [[nodiscard]] const std::vector<vlp::data::ImageFile>& files() const { return files_; }
  [[nodiscard]] io::Path cache() const { return folder_ / "cache"; }

 private:
  io::Path folder_;
  std::vector<vlp::data::ImageFile> files_;
};

/// Asks for batches of images at 224 x 224 pixels, as training does. With a cache, the first batch fills it.
void read_batches(benchmark::State& state, bool with_cache) {
  const Radiographs radiographs(1024, 64);
  const vlp::data::Images images(
      radiographs.files(),
      {.reading = {.image_size = 224, .cache = with_cache ? radiographs.cache() : io::Path()},
       .threads = static_cast<int>(state.range(0))});
  std::vector<std::int64_t> ids;
  for (std::size_t i = 0; i < images.size(); ++i) ids.push_back(static_cast<std::int64_t>(i));
  if (with_cache) images.request(ids).wait();
  for (auto _ : state) images.request(ids).wait();
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(ids.size()));
  if (!with_cache) return;
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(radiographs.cache()))
    if (entry.is_regular_file()) bytes += entry.file_size() / entry.hard_link_count();
  state.counters["cache"] = static_cast<double>(bytes) / static_cast<double>(ids.size());
}

void read_ahead(benchmark::State& state) {
  read_batches(state, false);
}
void read_from_cache(benchmark::State& state) {
  read_batches(state, true);
}

void encode_png(benchmark::State& state) {
  const std::vector<std::uint8_t> samples = radiograph(state.range(0));
  std::string file;
  for (auto _ : state)
    file = io::detail::PngWriter("a picture").write(state.range(0), state.range(0), 1, samples.data());
  note(state, file);
}

void on_threads(const char* name, void (*run)(benchmark::State&)) {
  benchmark::RegisterBenchmark(name, run)
      ->Arg(1)
      ->Arg(2)
      ->Arg(4)
      ->Unit(benchmark::kMillisecond)
      ->MeasureProcessCPUTime()
      ->UseRealTime();
}

void on_two_sizes(const char* name, void (*run)(benchmark::State&)) {
  benchmark::RegisterBenchmark(name, run)->Arg(512)->Arg(1024)->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) {
  on_two_sizes("decode_png", decode_png);
  on_two_sizes("decode_jpeg", decode_jpeg);
  on_two_sizes("decode_progressive_jpeg", decode_progressive_jpeg);
  on_two_sizes("decode_square", decode_square);
  on_threads("read_ahead", read_ahead);
  on_threads("read_from_cache", read_from_cache);
  on_two_sizes("encode_png", encode_png);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
