// A leveldb::Env over simulated volumes: LevelDB's files live beside all others of the volume, and lose at a power
// cut what LevelDB hasn't synced. Directories that LevelDB makes are journaled (see sim_names.h).
//
// Make one for each simulated process, after the one before has died. Paths are those of Disk::hostPath().
#pragma once
#include <leveldb/env.h>

#include <map>
#include <mutex>
#include <string>

#include "tests/sim/world/sim_background.h"
#include "tests/sim/world/sim_volume.h"

namespace cairn {

class SimEnv final : public leveldb::Env {
 public:
  // Says which volume holds a host path, or null; called from any thread.
  using Finder = std::function<SimVolume*(const std::string& hostPath)>;

  SimEnv(Finder finder, SimBackground& background) : finder_(std::move(finder)), background_(background) {}

  leveldb::Status NewSequentialFile(const std::string& name, leveldb::SequentialFile** result) override;
  leveldb::Status NewRandomAccessFile(const std::string& name, leveldb::RandomAccessFile** result) override;
  leveldb::Status NewWritableFile(const std::string& name, leveldb::WritableFile** result) override;
  leveldb::Status NewAppendableFile(const std::string& name, leveldb::WritableFile** result) override;
  bool FileExists(const std::string& name) override;
  leveldb::Status GetChildren(const std::string& directory, std::vector<std::string>* result) override;
  leveldb::Status RemoveFile(const std::string& name) override;
  leveldb::Status CreateDir(const std::string& name) override;
  leveldb::Status RemoveDir(const std::string& name) override;
  leveldb::Status GetFileSize(const std::string& name, uint64_t* size) override;
  leveldb::Status RenameFile(const std::string& from, const std::string& to) override;
  leveldb::Status LockFile(const std::string& name, leveldb::FileLock** lock) override;
  leveldb::Status UnlockFile(leveldb::FileLock* lock) override;
  void Schedule(void (*function)(void* argument), void* argument) override;
  void StartThread(void (*function)(void* argument), void* argument) override;
  leveldb::Status GetTestDirectory(std::string* path) override;
  leveldb::Status NewLogger(const std::string& name, leveldb::Logger** result) override;
  uint64_t NowMicros() override { return 0; }  // LevelDB uses it for statistics only
  void SleepForMicroseconds(int micros) override;

 private:
  struct Place {
    SimVolume* volume;
    SimVolume::Life life;
    std::string path;
  };
  Place locate(const std::string& hostPath);
  leveldb::Status openWritable(const std::string& name, bool empty, leveldb::WritableFile** result);

  Finder finder_;
  SimBackground& background_;
  std::mutex mutex_;  // guards lives_
  std::map<SimVolume*, SimVolume::Life> lives_;
};

}  // namespace cairn
