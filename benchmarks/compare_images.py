#!/usr/bin/env python3
"""Times how radiographs become the squares that an image encoder takes, by vlp and by the usual Python routes, on one core.

  compare_images.py --program build/benchmark/benchmarks/benchmark_images

Files are made by a fixed seed, radiographs with grain: PNG of 16 bits, JPEG of quality 90 and DICOM of 16 bits, native and
JPEG lossless, of 1024 x 1024 and 2500 x 2048 pixels. Each is decoded from its bytes in memory, cropped to the middle square,
resized to 224 x 224 and brought to float32 from 0 to 1. Contenders are timed in turn, round after round, each pinned to the
same core with one thread, by the processor's time; the table has the median of the rounds and their range. The column
"other pixels" is the mean distance from vlp's square, whose values are averages over area.

Pillow's draft mode decodes a JPEG at an eighth to a half of its size. What is not installed is named and left out: Pillow is
needed, torchvision, pydicom (with pylibjpeg-libjpeg) and the program dcmcjpeg of DCMTK add contenders and files.
A complete run writes benchmarks/results/images.json and .md; with --quick it writes where --output says.
"""
import argparse
import datetime
import importlib.metadata
import importlib.util
import io
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import compare_pytorch  # the name of the machine and of the commit

HERE = pathlib.Path(__file__).resolve().parent
EDGE = 224
SIZES = ((1024, 1024), (2500, 2048))  # width, height
PNG, JPEG, NATIVE, LOSSLESS = "PNG, 16 bits", "JPEG, 8 bits", "DICOM, 16 bits", "DICOM, JPEG lossless"


def installed(module):
    return importlib.util.find_spec(module) is not None


def radiograph(width, height):
    """Values from 0 to 1: two lungs, ribs, and the grain that decides how well a file compresses."""
    import numpy
    random = numpy.random.default_rng(width)
    y, x = numpy.mgrid[0:height, 0:width] / max(width, height)
    lungs = sum(numpy.exp(-((x - centre) ** 2 / 0.02 + (y - 0.45) ** 2 / 0.08)) for centre in (0.3, 0.7))
    image = 0.75 - 0.4 * lungs + 0.04 * numpy.sin(60 * y + 8 * (x - 0.5) ** 2)
    return numpy.clip(image + random.normal(0, 0.012, image.shape), 0, 1)


def dicom_bytes(values):
    """A radiograph of 12 bits in 16, with the attributes that lead from stored values to those shown."""
    import numpy
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = meta.MediaStorageSOPClassUID, "1.2.3.4", "DX"
    data.StudyInstanceUID = data.SeriesInstanceUID = "1.2.3.4"
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.RescaleSlope, data.RescaleIntercept = 1, 0
    data.WindowCenter, data.WindowWidth = 2048, 4096
    data.PixelData = (values * 4095).round().astype("<u2").tobytes()
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def make_files(folder, sizes, notes):
    """Paths by format and size."""
    import numpy
    from PIL import Image
    files = {}
    for width, height in sizes:
        values = radiograph(width, height)
        size = f"{width} x {height}"
        files[PNG, size] = folder / f"{width}.png"  # 12 bits of 16, as detectors give them
        Image.fromarray(((values * 4095).round() * 16).astype(numpy.uint16)).save(files[PNG, size])
        files[JPEG, size] = folder / f"{width}.jpg"
        Image.fromarray((values * 255).round().astype(numpy.uint8)).save(files[JPEG, size], quality=90)
        if not installed("pydicom"):
            continue
        files[NATIVE, size] = folder / f"{width}.dcm"
        files[NATIVE, size].write_bytes(dicom_bytes(values))
        if shutil.which("dcmcjpeg"):
            files[LOSSLESS, size] = folder / f"{width}.jpeg.dcm"
            subprocess.run(["dcmcjpeg", "+e1", files[NATIVE, size], files[LOSSLESS, size]], check=True)
    if not installed("pydicom"):
        notes.append("pydicom is not installed, so there are no DICOM files")
    elif not shutil.which("dcmcjpeg"):
        notes.append("dcmcjpeg is not installed, so there are no compressed DICOM files")
    return dict(sorted(files.items(), key=lambda file: [PNG, JPEG, NATIVE, LOSSLESS].index(file[0][0])))


class Vlp:
    """The program benchmark_images, which decodes when it is asked to."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()

    def seconds(self, way, path, repeats):
        self.ask("time", way, path, repeats)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit("compare_images: benchmark_images has ended")
        return float(answer)

    def square(self, way, path):
        import numpy
        self.ask("pixels", way, path)
        return numpy.frombuffer(self.process.stdout.read(4 * EDGE * EDGE), numpy.float32)


def middle(image):
    """Pillow's image cropped to its middle square."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def pillow_contenders(kind, notes):
    """Functions from bytes to a square, by name."""
    import numpy
    import PIL
    from PIL import Image
    white = 65535 if kind == PNG else 255

    def read(content, filter, draft=False):
        image = Image.open(io.BytesIO(content))
        if draft:
            image.draft("L", (EDGE, EDGE))
        image = middle(image if kind == PNG else image.convert("L"))
        return numpy.asarray(image.resize((EDGE, EDGE), filter), dtype=numpy.float32) / white

    notes.append(f"Pillow {PIL.__version__}")
    contenders = {"Pillow, BOX": lambda content: read(content, Image.Resampling.BOX),
                  "Pillow, BILINEAR": lambda content: read(content, Image.Resampling.BILINEAR)}
    if kind == JPEG:
        contenders["Pillow, draft mode, BOX"] = lambda content: read(content, Image.Resampling.BOX, draft=True)
    return contenders


def torchvision_contenders(kind, notes):
    if not installed("torchvision"):
        notes.append("torchvision is not installed")
        return {}
    import numpy
    import torch
    import torchvision
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms.v2 import functional
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    white = 65535 if kind == PNG else 255

    def read(content):
        pixels = decode_image(torch.from_numpy(numpy.frombuffer(content, numpy.uint8)),
                              ImageReadMode.UNCHANGED if kind == PNG else ImageReadMode.GRAY)
        side = min(pixels.shape[-2:])
        pixels = functional.center_crop(pixels, [side, side])
        if kind == PNG:  # 16 bits are not resized
            pixels = pixels.to(torch.float32)
        return functional.resize(pixels, [EDGE, EDGE], antialias=True).to(torch.float32).numpy() / white

    notes.append(f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}")
    return {"torchvision": read}


def pydicom_contenders(notes):
    if not installed("pydicom"):
        return {}
    import numpy
    import pydicom
    from PIL import Image
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    def read(content):
        data = pydicom.dcmread(io.BytesIO(content))
        values = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data)
        if data.PhotometricInterpretation == "MONOCHROME1":
            values = values.max() - values
        image = middle(Image.fromarray(values.astype(numpy.float32)))
        return numpy.asarray(image.resize((EDGE, EDGE), Image.Resampling.BOX)) / numpy.float32(4095)

    plugin = "pylibjpeg-libjpeg"  # decodes JPEG lossless for pydicom
    notes.append(f"pydicom {pydicom.__version__}" +
                 (f", {plugin} {importlib.metadata.version(plugin)}" if installed("libjpeg") else ""))
    return {"pydicom": read}


def contenders_of(kind, notes):
    if kind in (PNG, JPEG):
        return {**pillow_contenders(kind, notes), **torchvision_contenders(kind, notes)}
    return pydicom_contenders(notes)


def processor_seconds(read, content, repeats):
    start = time.process_time()
    for _ in range(repeats):
        read(content)
    return time.process_time() - start


def measure(options, vlp, kind, path, notes):
    """Rows of one file: seconds an image of each contender, in rounds."""
    import numpy
    content = path.read_bytes()
    ways = ["square", "whole"] if kind in (PNG, JPEG) else ["square"]
    timers = {"vlp" if way == ways[0] else "vlp, whole image first":
              lambda repeats, way=way: vlp.seconds(way, path, repeats) for way in ways}
    expected = vlp.square(ways[0], path)
    distances = {name: 0.0 for name in timers}
    for name, read in contenders_of(kind, notes).items():
        try:
            distances[name] = float(numpy.abs(read(content).reshape(-1) - expected).mean())
        except Exception as error:  # a decoder that is not installed
            notes.append(f"{name} does not read {kind}: {type(error).__name__}")
            continue
        timers[name] = lambda repeats, read=read: processor_seconds(read, content, repeats)
    repeats = {name: max(1, round(options.seconds / max(timer(1), 1e-6))) for name, timer in timers.items()}
    rounds = {name: [] for name in timers}
    for _ in range(options.rounds):
        for name, timer in timers.items():
            rounds[name].append(timer(repeats[name]) / repeats[name])
    return [{"contender": name, "images_a_second": 1 / statistics.median(seconds), "slowest": 1 / max(seconds),
             "fastest": 1 / min(seconds), "distance": distances[name]} for name, seconds in rounds.items()]


def markdown(result):
    lines = ["# Radiographs from their files to squares", "",
             f"Images a second on one core, {EDGE} x {EDGE} pixels of float32, by the processor's time: the median of "
             f"{result['rounds']} rounds in which the contenders take turns, with the slowest and the fastest round. "
             f"{result['machine']}, {result['date']}, commit {result['commit']}, Python {result['python']}."
             + (f" {result['remark']}" if result["remark"] else ""), ""]
    for block in result["blocks"]:
        fastest_vlp = max(row["images_a_second"] for row in block["rows"] if row["contender"].startswith("vlp"))
        lines += [f"## {block['kind']}, {block['size']}, {block['bits']:.1f} bits a pixel", "",
                  "| contender | images/s | range | vlp / it | other pixels |", "|---|---:|---:|---:|---:|"]
        for row in block["rows"]:
            lines.append(f"| {row['contender']} | {row['images_a_second']:.1f} | {row['slowest']:.1f} to {row['fastest']:.1f} | "
                         f"{compare_pytorch.times(fastest_vlp / row['images_a_second'])} | {row['distance']:.5f} |")
        lines.append("")
    return "\n".join(lines + ["Notes: " + "; ".join(result["notes"]) + "."]) + "\n"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, help="benchmark_images",
                        default=HERE.parent / "build" / "benchmark" / "benchmarks" / "benchmark_images")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3, help="time of one contender in one round")
    parser.add_argument("--quick", action="store_true", help="small images and few rounds: a smoke test")
    parser.add_argument("--remark", default="", help="a sentence about the machine for the table, e.g. that it was not quiet")
    parser.add_argument("--output", type=pathlib.Path, help="write OUTPUT.json and OUTPUT.md")
    options = parser.parse_args()
    if not installed("PIL") or not installed("numpy"):
        sys.exit(f"compare_images: Pillow and NumPy are not installed for {sys.executable}")
    if not options.program.is_file():
        sys.exit(f"compare_images: there is no program {options.program}; build the target benchmark_images, or name it by --program")
    if options.quick:
        options.rounds, options.seconds = 2, 0.01
    elif options.output is None:
        options.output = HERE / "results" / "images"
    return options


def main():
    options = parse()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    vlp, notes, blocks = Vlp(options.program), [], []
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(pathlib.Path(folder), ((256, 256), (300, 250)) if options.quick else SIZES, notes)
        for (kind, size), path in files.items():
            width, height = map(int, size.split(" x "))
            blocks.append({"kind": kind, "size": size, "bits": 8 * path.stat().st_size / width / height,
                           "rows": measure(options, vlp, kind, path, notes)})
    result = {"machine": compare_pytorch.processor(), "date": datetime.date.today().isoformat(),
              "commit": compare_pytorch.commit(), "python": platform.python_version(), "rounds": options.rounds,
              "remark": options.remark, "blocks": blocks, "notes": list(dict.fromkeys(notes))}
    if options.output:
        options.output.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        options.output.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    else:
        print(markdown(result), end="")


if __name__ == "__main__":
    main()
