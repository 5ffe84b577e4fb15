// How fast radiographs are decoded, and pictures encoded.
//
// The radiographs are drawn, with grain, as grey images of EDGE x EDGE pixels. One iteration is one image;
// items are images. `bits` a pixel says how well the file compresses.
#include <cstddef>
#include <cstdio>
// libjpeg's own header needs what stands above it.
#include <jpeglib.h>
//
#include "builtin/study.hpp"

#include <benchmark/benchmark.h>

#include <vlp/io/decode_square.hpp>
#include <vlp/io/image.hpp>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
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

void encode_png(benchmark::State& state) {
  const std::vector<std::uint8_t> samples = radiograph(state.range(0));
  std::string file;
  for (auto _ : state)
    file = io::detail::PngWriter("a picture").write(state.range(0), state.range(0), 1, samples.data());
  note(state, file);
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
  on_two_sizes("encode_png", encode_png);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
