// posix_suite DIRECTORY [PREFIX]: runs the cases whose names begin with PREFIX in a new directory below DIRECTORY.
// posix_suite --list names them. A line for each, "pass NAME" or "FAIL NAME: why", then a summary; exit code 1 if one
// failed. Needs root, for it acts as several users. Knows nothing of the file system that it runs on: which failures
// are expected there says posix_suite_test.py.
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

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

// Cases that run at the same time: most of them wait for a disk.
constexpr size_t RUNS_MAX = 6;

class Report {
 public:
  void add(Run& run) {
    std::string why = run.wrong();
    std::replace(why.begin(), why.end(), '\n', ' ');
    ran_++;
    failed_ += why.empty() ? 0 : 1;
    if (why.empty()) {
      std::printf("pass %s\n", run.of().name.c_str());
    } else {
      std::printf("FAIL %s: %s\n", run.of().name.c_str(), why.c_str());
    }
    std::fflush(stdout);
  }
  int sum() const {
    std::printf("%d cases, %d failed\n", ran_, failed_);
    return failed_ == 0 && ran_ > 0 ? 0 : 1;
  }

 private:
  int ran_ = 0;
  int failed_ = 0;
};

// Waits until at most `left` of the cases under way are left.
void await(std::vector<std::unique_ptr<Run>>& runs, size_t left, Report& report) {
  while (runs.size() > left) {
    std::vector<pollfd> waits;
    for (const auto& run : runs) {
      waits.push_back({run->events(), POLLIN, 0});
    }
    ::poll(waits.data(), waits.size(), -1);
    for (size_t i = runs.size(); i-- > 0;) {
      bool ended = waits[i].fd < 0 || (waits[i].revents != 0 && !runs[i]->hear());
      if (ended) {
        report.add(*runs[i]);
        runs.erase(runs.begin() + static_cast<long>(i));
      }
    }
  }
}

int runAll(const Suite& suite, const std::string& parent, const std::string& prefix) {
  std::string top = parent + "/posix-XXXXXX";
  if (::mkdtemp(top.data()) == nullptr || ::chmod(top.c_str(), 0755) != 0) {
    std::perror(top.c_str());
    return 2;
  }
  ::umask(0);
  Report report;
  std::vector<std::unique_ptr<Run>> runs;
  int number = 0;
  for (const Case& wanted : suite.cases()) {
    if (wanted.name.starts_with(prefix)) {
      await(runs, RUNS_MAX - 1, report);
      runs.push_back(std::make_unique<Run>(wanted, top + "/" + std::to_string(++number)));
    }
  }
  await(runs, 0, report);
  return report.sum();
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
  return runAll(suite, words[1], count == 3 ? words[2] : "");
}
