/// \file
/// A locale as de_DE.UTF-8 is, for tests of what must be written alike everywhere.
#pragma once

#include <locale>
#include <string>

namespace vlp::test {

/// Makes a locale with a comma before decimals and points between thousands the program's global one, for as
/// long as it lives. It is made here, so that no system locale need be installed.
class GroupingLocale {
 public:
  GroupingLocale() = default;
  GroupingLocale(const GroupingLocale&) = delete;
  GroupingLocale& operator=(const GroupingLocale&) = delete;
  ~GroupingLocale() { std::locale::global(before_); }

 private:
  struct Numbers : std::numpunct<char> {
    [[nodiscard]] char do_decimal_point() const override { return ','; }
    [[nodiscard]] char do_thousands_sep() const override { return '.'; }
    [[nodiscard]] std::string do_grouping() const override { return "\3"; }
  };

  std::locale before_ = std::locale::global(std::locale(std::locale::classic(), new Numbers));
};

}  // namespace vlp::test
