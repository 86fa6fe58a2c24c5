// TestFile: a file that one mount writes, with the ledger of what may be read of it. One writer at a time.
#pragma once
#include <string>
#include <vector>

#include "tests/sim/cluster/ledger.h"
#include "tests/sim/cluster/sim_cluster.h"

namespace cairn {

// Who the test's mounts act as.
inline Caller superuser() { return Caller{0, 0, {}}; }

class TestFile {
 public:
  // Blocks per message of a test's write: small enough to cut at chunk borders often.
  static constexpr uint64_t WRITE_BLOCKS_MAX = 64;
  static constexpr const char* UNREADABLE = "can't be read: ";

  // Makes it. `number` goes into its contents; different for every file.
  TestFile(SimCluster& cluster, Client& client, std::string name, uint64_t number, InodeId directory = ROOT_INODE);
  // One that was just made or is there already.
  TestFile(SimCluster& cluster, Client& client, InodeId inode, HandleId handle, uint64_t number)
      : cluster_(cluster), client_(&client), inode_(inode), handle_(handle), ledger_(number) {}
  KJ_DISALLOW_COPY(TestFile);

  InodeId inode() const { return inode_; }
  HandleId handle() const { return handle_; }
  Client& client() const { return *client_; }
  const FileLedger& ledger() const { return ledger_; }
  // Its last name may be gone: other mounts, which don't hold it, may find nothing.
  void setGone() { gone_ = true; }
  bool isGone() const { return gone_; }

  // ---- calls of the writer; each may be awaited or run beside others
  Task<Status> writing(uint64_t block, uint64_t count);
  Task<Status> syncing();
  Task<Status> punching(uint64_t block, uint64_t count);
  Task<Status> resizing(uint64_t blocks);

  // ---- the same, at once; throws when it fails
  void write(uint64_t block, uint64_t count = 1);
  void sync();
  void resize(uint64_t blocks);
  // Written, acknowledged by the chunkservers, not synced.
  void writeThrough(uint64_t block, uint64_t count = 1);
  Attributes attributes();

  // A problem that says nothing of the bytes: the reader was refused.
  static bool isUnreadable(const std::string& problem) { return problem.find(UNREADABLE) != std::string::npos; }
  // Reads everything through `reader` and compares. Empty, or what is wrong. Blocks past the end count as zeros.
  Task<std::string> checking(Client& reader);
  // `since`: what was possible then may be seen as well; nullptr: since the call.
  Task<std::string> checkingBlocks(Client& reader, uint64_t block, uint64_t count,
                                   const FileLedger::Floor* since = nullptr);
  std::string check(Client& reader) { return cluster_.wait(checking(reader)); }
  std::string problem(uint64_t block, kj::ArrayPtr<const kj::byte> bytes) const {
    return ledger_.problem(block, bytes);
  }

 private:
  Task<std::string> checkingAt(Client& reader, HandleId handle, uint64_t block, uint64_t count,
                               FileLedger::Floor floor);

  SimCluster& cluster_;
  Client* client_;
  InodeId inode_{};
  HandleId handle_{};
  FileLedger ledger_;
  bool gone_ = false;
};

}  // namespace cairn
