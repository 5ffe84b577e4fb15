#include "support/gzip.hpp"
#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/core/stop.hpp>
#include <vlp/io/csv.hpp>

#include <atomic>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::io;
using vlp::test::TemporaryFolder;
using Rows = std::vector<std::vector<std::string>>;

TEST_CASE("a plain table is read") {
  const TemporaryFolder folder;
  const CsvTable table = read_csv(folder.write("t.csv", "image,report\na.png,Clear.\nb.png,\n"));
  CHECK(table.path == (folder / "t.csv").string());
  CHECK(table.columns == std::vector<std::string>{"image", "report"});
  CHECK(table.rows == Rows{{"a.png", "Clear."}, {"b.png", ""}});
  CHECK(table.lines == std::vector<Index>{2, 3});
  CHECK(table.column("report") == 1);
  CHECK_FALSE(table.find_column("Report").has_value());
  CHECK(table.where(1) == table.path + ":3");
}

TEST_CASE("quotes keep commas, quotes, spaces and line breaks") {
  const TemporaryFolder folder;
  const CsvTable table = read_csv(folder.write("t.csv",
                                               "a,b\n"
                                               "\"x, y\",\"said \"\"no\"\"\"\n"
                                               "\"one\ntwo\r\n\nfour\",\" kept \"\n"
                                               "last,\"\""));
  CHECK(table.rows == Rows{{"x, y", "said \"no\""}, {"one\ntwo\r\n\nfour", " kept "}, {"last", ""}});
  CHECK(table.lines == std::vector<Index>{2, 3, 7});
}

TEST_CASE(
    "line ends of every system, blank lines, a byte order mark and spaces around fields do not matter") {
  const TemporaryFolder folder;
  const Rows expected{{"1", "2"}, {"3", "4"}};
  for (const char* text : {"a,b\n1,2\n3,4\n", "a,b\r\n1,2\r\n3,4\r\n", "a,b\r1,2\r3,4\r", "a,b\n1,2\n3,4",
                           "\xEF\xBB\xBF"
                           "a,b\n1,2\n3,4\n",
                           "\n\na,b\n\n1,2\n  \r\n\r\n3,4\n\n", "a , b\n 1, 2 \n\t3,4\n"}) {
    const CsvTable table = read_csv(folder.write("t.csv", text));
    CHECK(table.columns == std::vector<std::string>{"a", "b"});
    CHECK(table.rows == expected);
  }
  CHECK(read_csv(folder.write("t.csv", "a,b\r\n\r\n\r\n1,2\r\n")).lines == std::vector<Index>{4});
  CHECK(read_csv(folder.write("t.csv", "a,b\r1,2\r3,4")).lines == std::vector<Index>{2, 3});
  CHECK(read_csv(folder.write("t.csv", "a,b\n")).rows.empty());
}

TEST_CASE("malformed tables are refused by file and line") {
  const TemporaryFolder folder;
  const auto reading = [&](std::string_view text) { return read_csv(folder.write("bad.csv", text)); };
  const std::string file = (folder / "bad.csv").string();
  CHECK_MESSAGE_HAS(read_csv(folder / "none.csv"), "none.csv", "No such file");
  CHECK_MESSAGE_HAS(reading(""), file, "empty");
  CHECK_MESSAGE_HAS(reading("\xEF\xBB\xBF\n\n"), file, "empty");
  CHECK_MESSAGE_HAS(reading("a,b\n1,2\n\n1,2,3\n"), file + ":4", "3 fields", "2 columns");
  CHECK_MESSAGE_HAS(reading("a,b\n\"1\n1\",2\n1\n"), file + ":4", "1 fields");
  CHECK_MESSAGE_HAS(reading("a,b\n1,\"2\n3,4\n"), file + ":2", "never closed");
  CHECK_MESSAGE_HAS(reading("a,b\n1,2\n1,\"2\"x\n"), file + ":3", "quote");
  CHECK_MESSAGE_HAS(reading("a,b\n1,2\n1,5\" tube\n"), file + ":3", "quote");
  CHECK_MESSAGE_HAS(reading(std::string_view("a,b\n1,\0\n", 8)), file + ":2", "zero byte");
  CHECK_MESSAGE_HAS(reading(std::string_view("\xFF\xFE"
                                             "a\0,\0b\0\n\0",
                                             10)),
                    file, "UTF-16");
  CHECK_MESSAGE_HAS(reading("image,report\na.png,L\xE9sion.\nb c.png,Clear.\n"), file + ":2", "E9",
                    "not UTF-8");
}

TEST_CASE("columns that are not separated by commas are refused with what separates them") {
  const TemporaryFolder folder;
  const auto reading = [&](std::string_view text) { return read_csv(folder.write("bad.csv", text)); };
  const std::string file = (folder / "bad.csv").string();
  CHECK_MESSAGE_HAS(
      reading("image;report;patient\na.png;Lungs clear.;p1\nb c.png;Small effusion, left.;p2\n"),
      file + ":1: columns are separated by semicolons, but must be by commas");
  CHECK_MESSAGE_HAS(reading("\xEF\xBB\xBF\n\"image\";\"report, text\"\n"), file + ":2", "semicolons");
  CHECK_MESSAGE_HAS(reading("image\treport\na.png\tClear.\n"), file + ":1", "tabs");
  CHECK_MESSAGE_HAS(reading("image|report\r\na.png|Clear.\r\n"), file + ":1", "vertical bars");
  // Other separators within names, or around the only one, are no separators.
  CHECK(reading("a;b,c|d\n1,2\n").columns == std::vector<std::string>{"a;b", "c|d"});
  CHECK(reading("\"a;b\"\n1\n").columns == std::vector<std::string>{"a;b"});
  CHECK(reading("a\t\n1\n").columns == std::vector<std::string>{"a"});
}

TEST_CASE("a table packed by gzip is read like any other, whatever its name") {
  const TemporaryFolder folder;
  const std::string text = "image,report\na.png,\"Clear,\ndry.\"\nb.png,\n";
  for (const char* name : {"t.csv.gz", "t.csv"}) {
    const CsvTable table = read_csv(folder.write(name, test::gzip(text)));
    CHECK(table.path == (folder / name).string());
    CHECK(table.rows == Rows{{"a.png", "Clear,\ndry."}, {"b.png", ""}});
    CHECK(table.lines == std::vector<Index>{2, 4});
  }
  CHECK(read_csv(folder.write("plain.csv.gz", text)).rows.size() == 2);
  const std::string file = (folder / "t.csv.gz").string();
  CHECK_MESSAGE_HAS(read_csv(folder.write("t.csv.gz", test::gzip(text).substr(0, 20))),
                    file + ": gzip data that are cut off after 20 bytes");
  CHECK_MESSAGE_HAS(read_csv(folder.write("t.csv.gz", test::gzip("a,b\n1\n"))), file + ":2: 1 fields");
  CHECK_MESSAGE_HAS(read_csv(folder.write("t.csv.gz", test::gzip(""))), file + ": empty");
  folder.write("t.csv.gz", test::gzip("a,b\n" + std::string(1000, '\n')));
  CHECK(read_csv(folder / "t.csv.gz", {.max_bytes = 1004}).rows.empty());
  CHECK_MESSAGE_HAS(read_csv(folder / "t.csv.gz", {.max_bytes = 1003}), file, "1003 bytes");
}

TEST_CASE("a few columns of a table are read alone, and its faults are those of the whole") {
  const TemporaryFolder folder;
  const auto reading = [&](std::string_view text, std::vector<std::string_view> columns) {
    return read_csv(folder.write("t.csv", text), {.columns = std::move(columns)});
  };
  const CsvTable table = reading("a,b,c,d\n1,2,3,4\n\n5,6,7,8\n", {"d", "b", "none"});
  CHECK(table.columns == std::vector<std::string>{"b", "d"});
  CHECK(table.file_columns == std::vector<std::string>{"a", "b", "c", "d"});
  CHECK(table.rows == Rows{{"2", "4"}, {"6", "8"}});
  CHECK(table.lines == std::vector<Index>{2, 4});
  CHECK(table.column("d") == 1);
  CHECK_MESSAGE_HAS(table.column("none"), "t.csv: no column 'none' (columns: a, b, c, d)");
  // Both of two columns that have one name.
  CHECK(reading("a,b,a\n1,2,3\n", {"a"}).rows == Rows{{"1", "3"}});
  CHECK(reading("a,b\n1,2\n", {"none"}).rows == Rows{{}});
  CHECK(reading("a,b\n1,2\n", {}).file_columns == std::vector<std::string>{"a", "b"});
  CHECK_MESSAGE_HAS(reading("a,b\n1,2\n1\n", {"a"}), "t.csv:3: 1 fields, but 2 columns");
  CHECK_MESSAGE_HAS(reading("a,b\n1,2\n1,2,3\n", {"a"}), "t.csv:3: 3 fields, but 2 columns");
  CHECK_MESSAGE_HAS(reading("a,b\n1,\"2\n", {"a"}), "t.csv:2: a quote");
  CHECK_MESSAGE_HAS(reading("a,b\n1,\xE9\n", {"a"}), "t.csv:2: the byte E9");
}

TEST_CASE("reading a table ends when it is asked to") {
  const TemporaryFolder folder;
  std::atomic<bool> flag{false};
  const io::Path path = folder.write("t.csv", "a,b\n1,2\n");
  CHECK(read_csv(path, StopToken(flag)).rows.size() == 1);
  flag = true;
  CHECK_THROWS_AS(read_csv(path, StopToken(flag)), Stopped);
}

TEST_CASE("a column that is not there is named with those that are") {
  const TemporaryFolder folder;
  const CsvTable table = read_csv(folder.write("t.csv", "image,text\n"));
  CHECK_MESSAGE_HAS(table.column("report"), table.path, "'report'", "(columns: image, text)");
  std::string names = "image";
  for (int i = 0; i < 3000; ++i) names += concat(",c", i);
  const CsvTable wide = read_csv(folder.write("wide.csv", names + "\n"));
  const std::string message = test::message_of([&] { static_cast<void>(wide.column("report")); });
  CHECK(message.find("(columns: image, c0, c1, ") != std::string::npos);
  CHECK(message.ends_with(", ...)"));
  CHECK(message.size() < 1200 + wide.path.size());
}

/// RFC 4180, every field quoted.
std::string quoted(const Rows& rows) {
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      out += i == 0 ? "\"" : ",\"";
      for (char c : row[i]) out += c == '"' ? std::string("\"\"") : std::string(1, c);
      out += '"';
    }
    out += "\r\n";
  }
  return out;
}

TEST_CASE("any fields survive quoting") {
  const TemporaryFolder folder;
  CHECK(rc::check([&] {
    const auto columns = *rc::gen::inRange<std::size_t>(1, 5);
    const auto field = rc::gen::container<std::string>(rc::gen::oneOf(
        rc::gen::element('"', ',', '\n', '\r', ' ', 'x', ';'), rc::gen::inRange<char>('\1', '\x7f')));
    Rows rows = *rc::gen::container<Rows>(rc::gen::container<std::vector<std::string>>(columns, field));
    rows.insert(rows.begin(), std::vector<std::string>(columns, "name"));
    const CsvTable table = read_csv(folder.write("t.csv", quoted(rows)));
    RC_ASSERT(table.columns == rows.front());
    rows.erase(rows.begin());
    RC_ASSERT(table.rows == rows);
  }));
}

TEST_CASE("any text is read as a table or refused with file and line") {
  const TemporaryFolder folder;
  const std::string file = (folder / "t.csv").string();
  CHECK(rc::check([&] {
    const std::string text = *rc::gen::container<std::string>(
        rc::gen::element('"', ',', '\n', '\r', ' ', 'x', '\0', '\xEF', '\xBB', '\xBF'));
    try {
      const CsvTable table = read_csv(folder.write("t.csv", text));
      for (const auto& row : table.rows) RC_ASSERT(row.size() == table.columns.size());
      for (std::size_t i = 1; i < table.lines.size(); ++i) RC_ASSERT(table.lines[i - 1] < table.lines[i]);
    } catch (const std::runtime_error& error) {
      RC_ASSERT(std::string(error.what()).find(file + ":") == 0U);
    }
  }));
}

}  // namespace
