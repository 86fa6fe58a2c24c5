// The codes of everything that can be wrong: the reasons of the cluster's health, and what dfsadmin refuses. A code
// never changes its meaning, so scripts and people's notes may rely on it. tests/codes_test.py sees to it that every
// code that is used is explained here, and the other way round.
#pragma once
#include <span>
#include <string_view>

namespace cairn::admin {

struct CodeText {
  std::string_view code;
  std::string_view cause;
  std::string_view effect;
  std::string_view next;  // what to do, with the command
};

std::span<const CodeText> healthCodes();
std::span<const CodeText> errorCodes();

}  // namespace cairn::admin
