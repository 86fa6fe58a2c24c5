// posix_suite DIRECTORY [PREFIX]: runs the cases whose names begin with PREFIX in a new directory below DIRECTORY.
// posix_suite --list names them. A line for each, "pass NAME" or "FAIL NAME: why", then a summary; exit code 1 if one
// failed. Needs root, for it acts as several users. Knows nothing of the file system that it runs on: which failures
// are expected there says posix_suite_test.py.
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "tests/posix/suite.h"

namespace cairn::posix {
namespace {

void addAll(Suite& suite) {
  addPaths(suite);
  addPermissions(suite);
  addSticky(suite);
  addModes(suite);
  addSetIds(suite);
  addOwners(suite);
  addTimeSettings(suite);
  addTimeEffects(suite);
  addRenames(suite);
  addRenameRules(suite);
  addNames(suite);
  addOpens(suite);
  addXattrs(suite);
  addAcls(suite);
  addData(suite);
  addAppends(suite);
  addHoles(suite);
  addCopies(suite);
  addLocks(suite);
  addDirectories(suite);
  addMaps(suite);
  addUnlinked(suite);
  addSpecialFiles(suite);
}

int run(const Suite& suite, const std::string& parent, const std::string& prefix) {
  std::string top = parent + "/posix-XXXXXX";
  if (::mkdtemp(top.data()) == nullptr || ::chmod(top.c_str(), 0755) != 0) {
    std::perror(top.c_str());
    return 2;
  }
  ::umask(0);
  int ran = 0;
  int failed = 0;
  for (const Case& wanted : suite.cases()) {
    if (!wanted.name.starts_with(prefix)) {
      continue;
    }
    std::string why = runCase(wanted, top + "/" + std::to_string(++ran));
    failed += why.empty() ? 0 : 1;
    std::printf(why.empty() ? "pass %s\n" : "FAIL %s: %s\n", wanted.name.c_str(), why.c_str());
    std::fflush(stdout);
  }
  std::printf("%d cases, %d failed\n", ran, failed);
  return failed == 0 && ran > 0 ? 0 : 1;
}

}  // namespace
}  // namespace cairn::posix

int main(int count, char** words) {
  using namespace cairn::posix;
  Suite suite;
  addAll(suite);
  if (count == 2 && std::strcmp(words[1], "--list") == 0) {
    for (const Case& known : suite.cases()) {
      std::printf("%s\n", known.name.c_str());
    }
    return 0;
  }
  if (count < 2 || count > 3 || ::geteuid() != 0) {
    std::fprintf(stderr, "usage, as root: %s DIRECTORY [PREFIX], or --list\n", words[0]);
    return 64;
  }
  return run(suite, words[1], count == 3 ? words[2] : "");
}
