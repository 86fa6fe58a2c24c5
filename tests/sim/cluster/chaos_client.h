// ChaosClient: one mount's random work in a directory of its own: files come, change, are renamed and go; what is read
// back, by itself and by others, is checked against the models.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "tests/sim/cluster/names.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {

class ChaosClient {
 public:
  static constexpr size_t FILES_MAX = 5;
  static constexpr uint64_t REGION_BLOCKS = 24;  // blocks used around the start, and around the first chunk border
  static constexpr uint64_t RUN_BLOCKS_MAX = 8;

  // Works through `mount`, in a directory called `name`. `number`: different for each.
  ChaosClient(SimCluster& cluster, const std::string& mount, std::string name, unsigned number);
  KJ_DISALLOW_COPY(ChaosClient);

  // Makes the directory. Call it while the cluster is well.
  void begin();
  // Works until `stopping`. Never throws for what may go wrong in bad weather.
  Task<void> run(const std::vector<ChaosClient*>& all);
  bool stopping = false;

  uint64_t operations() const { return operations_; }
  uint64_t failures() const { return failures_; }
  // The first thing that was seen and may not be; empty: none.
  const std::string& problem() const { return problem_; }
  // What it does now, for a run that gets stuck.
  const std::string& doing() const { return doing_; }

  // ---- afterwards
  // Syncs all files: what that answers counts.
  void finish();
  // Through any mount:
  Task<std::string> checkNames(Client& reader);
  Task<std::string> checkFiles(Client& reader);

 private:
  using Files = std::map<std::string, kj::Own<TestFile>>;

  Task<void> step(const std::vector<ChaosClient*>& all);
  Task<void> create();
  Task<void> write(TestFile& file);
  Task<void> resize(TestFile& file);
  Task<void> punch(TestFile& file);
  Task<void> sync(TestFile& file);
  Task<void> checkOwn(TestFile& file);
  Task<void> checkOther(ChaosClient& other);
  Task<void> rename(std::string from);
  Task<void> unlink(std::string name);
  Task<void> list();

  static NameModel::End endOf(int code);
  Task<Result<NameModel::Listing>> listing(Client& reader);
  void note(const std::string& doing);
  void count(int code);
  void report(const std::string& problem);
  // Of a read that began under `session`: an evicted session's reads are refused, and no more than that.
  void reportRead(const std::string& problem, uint64_t session);
  uint64_t anyBlock();
  std::string newName() { return "f" + std::to_string(nextName_++); }

  SimCluster& cluster_;
  const std::string name_;
  kj::Own<SimRandom> random_;
  Client& client_;
  InodeId directory_{};
  NameModel names_;
  Files files_;                            // by the name that the client believes in
  std::vector<kj::Own<TestFile>> doubtful_;  // whose name is not sure, or gone; kept, for others may be reading them
  uint64_t nextFile_;
  unsigned nextName_ = 1;
  uint64_t operations_ = 0;
  uint64_t failures_ = 0;
  std::string problem_;
  std::string doing_;
};

}  // namespace cairn
