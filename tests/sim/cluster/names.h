// What a directory with one writer may contain: the checker's memory. An acknowledged create, rename or unlink took
// place; a refused one didn't; one that ended without an answer did or didn't, until somebody looks.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace cairn {

class NameModel {
 public:
  // Which file a name stands for; ANY: one whose number nobody told.
  using FileNumber = uint64_t;
  static constexpr FileNumber ANY = ~uint64_t{0};
  using Listing = std::map<std::string, FileNumber>;
  enum class End { DONE, REFUSED, UNKNOWN };

  void created(const std::string& name, FileNumber file, End end);
  void removed(const std::string& name, End end);
  // Replaces what `to` stood for.
  void renamed(const std::string& from, const std::string& to, End end);

  // What a complete listing after the last change showed. Empty when that may be; else what is wrong with it.
  std::string observe(const Listing& listing);
  // The one name-to-file relation that is sure, or the first of those that may be.
  const Listing& likely() const { return *worlds_.begin(); }
  bool isSure() const { return worlds_.size() == 1; }

 private:
  void change(const std::function<bool(Listing&)>& apply, End end);
  static bool matches(const Listing& world, const Listing& seen);
  static std::string text(const Listing& listing);

  std::set<Listing> worlds_{{}};
};

}  // namespace cairn
