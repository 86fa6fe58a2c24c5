// The cases of the POSIX suite and what runs them: each in a process and a directory of its own, so that none disturbs
// the next, whatever ids it took, signals it got or descriptors it left open.
#pragma once
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace cairn::posix {

struct Case {
  std::string name;  // call/condition/what it must come to
  std::function<void()> body;
};

class Suite {
 public:
  // `body` runs as root, with umask 0, in an empty directory of mode 0777. It ends at the first Failure.
  void add(std::string name, std::function<void()> body) { cases_.push_back({std::move(name), std::move(body)}); }
  const std::vector<Case>& cases() const { return cases_; }

 private:
  std::vector<Case> cases_;
};

// A case that is running in a child process.
class Run {
 public:
  // `directory` is made for it.
  Run(const Case& wanted, const std::string& directory);
  Run(const Run&) = delete;
  ~Run();
  const Case& of() const { return case_; }
  int events() const { return pipe_; }  // can be read when there is something for hear()
  bool hear();                          // false: the case is at its end
  std::string wrong();                  // then: what is wrong; empty when the case holds

 private:
  const Case& case_;
  pid_t child_ = -1;
  int pipe_ = -1;
  std::string why_;
};

void addPaths(Suite& suite);
void addPermissions(Suite& suite);
void addSticky(Suite& suite);
void addModes(Suite& suite);
void addSetIds(Suite& suite);
void addOwners(Suite& suite);
void addTimeSettings(Suite& suite);
void addTimeEffects(Suite& suite);
void addRenames(Suite& suite);
void addRenameRules(Suite& suite);
void addNames(Suite& suite);
void addOpens(Suite& suite);
void addXattrs(Suite& suite);
void addAcls(Suite& suite);
void addData(Suite& suite);
void addAppends(Suite& suite);
void addHoles(Suite& suite);
void addCopies(Suite& suite);
void addLocks(Suite& suite);
void addDirectories(Suite& suite);
void addMaps(Suite& suite);
void addUnlinked(Suite& suite);
void addSpecialFiles(Suite& suite);

}  // namespace cairn::posix
