// Manual pages and completions for shells, made from what a program's command line knows of itself, so that they
// can't say anything else than --help does.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

namespace cairn {

// A page in the format of man(1), section 8, with a part for each verb.
std::string manualPage(const CLI::App& app, const std::string& program, const std::string& version);
// Adds the option --man, which --help doesn't show: it prints the page. For packaging.
void addManual(CLI::App& app, const std::string& program, const std::string& version);

// Scripts that complete nouns, verbs, options and their values; files where nothing else is known.
std::string bashCompletion(const CLI::App& app, const std::string& program);
std::string zshCompletion(const CLI::App& app, const std::string& program);

}  // namespace cairn
