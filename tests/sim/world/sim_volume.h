// One simulated disk: outlives the processes that use it. Thread-safe, for LevelDB compacts on a thread.
//
// Processes reach it through open() (a Disk) and through SimEnv. Both remember the volume's *life*:
// processDied() and powerCut() begin a new one, after which whatever an old process still does (destructors
// of LevelDB, say) fails with EIO and changes nothing.
#pragma once
#include <kj/function.h>

#include <map>
#include <mutex>
#include <set>

#include "common/clock.h"
#include "common/disk.h"
#include "tests/sim/world/sim_content.h"
#include "tests/sim/world/sim_faults.h"
#include "tests/sim/world/sim_names.h"
#include "tests/sim/world/sim_random.h"
#include "tests/sim/world/sim_trace.h"

namespace cairn {

struct SimVolumeOptions {
  uint64_t capacityBytes = 1ull << 40;
  Nanos syncMin = 100 * MICROSECOND;
  Nanos syncMax = 1 * MILLISECOND;
  Nanos coldReadMin = 50 * MICROSECOND;
  Nanos coldReadMax = 500 * MICROSECOND;
};

class SimVolume {
 public:
  using NodeId = SimNames::NodeId;
  using Life = uint64_t;
  // A sync under way: which file, and what it will have made durable.
  struct Sync {
    NodeId node;
    SimContent::SyncPoint point;
  };

  SimVolume(std::string name, Clock& clock, SimTrace& trace, uint64_t seed, SimVolumeOptions options = {});

  // A Disk as one process sees it. Must not outlive the volume.
  kj::Own<Disk> open();

  // ---- what befalls the volume ----
  void processDied();
  void powerCut();
  void setFaults(SimFaults faults);
  void setTrip(SimTrip trip);
  void setCapacity(uint64_t bytes);
  // Other users' bytes on the same disk.
  void setBallast(uint64_t bytes);
  // Until then syncs and cold reads don't end.
  void stallUntil(Nanos time) { stalledUntil_ = time; }
  // The page cache is gone: reads wait for the device, and see what it really has.
  void dropCache();
  // Flips one bit of up to `count` blocks in files for which `befalls`; says which ("path:offset").
  std::vector<std::string> rot(unsigned count, const std::function<bool(const std::string& path)>& befalls);
  bool rotAt(const std::string& path, uint64_t offset, unsigned bit = 0);
  // Only on the device: what is in the page cache stays as it was.
  bool rotUnderCache(const std::string& path, uint64_t offset, unsigned bit = 0);

  // ---- for tests ----
  uint64_t accesses() const;
  uint64_t usedBytes() const;
  const std::string& name() const { return name_; }
  std::string hostPath(const std::string& path) const;

  // ---- the kernel's side, for SimDisk and SimEnv; errors carry the host path ----
  Life life() const;
  Result<NodeId> openFile(Life life, const std::string& path, Disk::Mode mode);
  void closeFile(Life life, NodeId node);
  void holdFile(Life life, NodeId node);  // as if opened once more
  Result<size_t> read(Life life, NodeId node, uint64_t offset, kj::ArrayPtr<kj::byte> out, bool onlyCached);
  Result<size_t> readDevice(Life life, NodeId node, uint64_t offset, kj::ArrayPtr<kj::byte> out);
  Status write(Life life, NodeId node, uint64_t offset, kj::ArrayPtr<const kj::byte> data);
  Status truncate(Life life, NodeId node, uint64_t size);
  Status punch(Life life, NodeId node, uint64_t offset, uint64_t length);
  Result<FileInfo> info(Life life, NodeId node);
  Result<Sync> beginSync(Life life, NodeId node);
  Status endSync(Life life, const Sync& sync);
  Status remove(Life life, const std::string& path, bool directory);
  Status rename(Life life, const std::string& from, const std::string& to);
  Status makeDirectory(Life life, const std::string& path);
  Result<std::vector<std::string>> list(Life life, const std::string& path);
  bool exists(Life life, const std::string& path);
  Status syncDirectory(Life life, const std::string& path);
  Status lock(Life life, const std::string& path);
  void unlock(Life life, const std::string& path);
  Result<DiskSpace> space(Life life);
  void journal(Life life, const std::string& directory);

  // Virtual times of a device's answers, for SimDisk.
  Nanos syncDelay();
  Nanos coldReadDelay();
  void note(const std::string& event);
  Clock& clock() { return clock_; }

 private:
  enum class Kind : uint64_t { READ = 1, WRITE, SYNC, LOST, MISDIRECTED };
  struct FileNode {
    std::string path;  // where it was made: part of what chooses its faults
    NodeId directory;
    SimContent content;
    unsigned openCount = 0;
    bool named = true;
    bool cold = false;
    std::set<std::pair<Kind, uint64_t>> spent;  // faults that have happened, or that a rewrite has healed
  };

  Error fail(int code, const std::string& path, const char* doing) const;
  Status enter(Life life, const std::string& path, const char* doing);
  bool chosen(Kind kind, uint32_t chance, const FileNode& file, uint64_t block) const;
  bool anyChosen(Kind kind, uint32_t chance, FileNode& file, uint64_t offset, uint64_t length, bool once);
  void dropName(NodeId node);
  void dropContentIfUnused(const FileNode& file);
  void collectGarbage();
  void recount();
  bool live(const FileNode& file) const { return file.named || file.openCount > 0; }
  template <typename Change>
  void changeContent(FileNode& file, Change change);
  SimContent::Fate fate(FileNode& file, uint64_t page);

  const std::string name_;
  Clock& clock_;
  SimTrace& trace_;
  SimRandom random_;  // for the loop's thread only: delays and cuts
  SimVolumeOptions options_;
  Nanos stalledUntil_ = 0;

  mutable std::mutex mutex_;  // guards what follows
  SimNames names_;
  std::map<NodeId, FileNode> files_;
  std::set<std::string> locks_;
  SimFaults faults_;
  SimTrip trip_;
  Life life_ = 1;
  uint64_t accesses_ = 0;
  uint64_t ballastBytes_ = 0;
  uint64_t usedBytes_ = 0;          // of live files
  unsigned removedSinceSweep_ = 0;  // nodes that may be garbage: no name, but a power cut might bring it back
};

}  // namespace cairn
