// The Disk that one simulated process sees of a SimVolume: adds the waiting, in virtual time.
#include "tests/sim/world/sim_volume.h"

namespace cairn {

namespace {

class SimFile final : public File {
 public:
  SimFile(SimVolume& volume, SimVolume::Life life, SimVolume::NodeId node, std::string path)
      : volume_(volume), life_(life), node_(node), path_(std::move(path)) {}
  ~SimFile() noexcept(false) { volume_.closeFile(life_, node_); }

  Task<Result<size_t>> read(uint64_t offset, kj::ArrayPtr<kj::byte> out) override {
    auto cached = readCached(offset, out);
    if (cached.code() != EAGAIN) {
      return kj::Promise<Result<size_t>>(kj::mv(cached));
    }
    return readCold(volume_, life_, node_, offset, out);
  }
  Task<Result<size_t>> readDevice(uint64_t offset, kj::ArrayPtr<kj::byte> out) override {
    return readDeviceLater(volume_, life_, node_, offset, out);
  }
  Result<size_t> readCached(uint64_t offset, kj::ArrayPtr<kj::byte> out) override {
    return volume_.read(life_, node_, offset, out, true);
  }
  Result<size_t> readNow(uint64_t offset, kj::ArrayPtr<kj::byte> out) override {
    return volume_.read(life_, node_, offset, out, false);
  }
  Status write(uint64_t offset, kj::ArrayPtr<const kj::byte> data) override {
    return volume_.write(life_, node_, offset, data);
  }
  Task<Status> sync() override { return syncLater(volume_, life_, node_, path_); }
  Status syncNow() override {
    auto begun = volume_.beginSync(life_, node_);
    return begun.ok() ? volume_.endSync(life_, begun.value()) : Status(begun.error());
  }
  Status truncate(uint64_t size) override { return volume_.truncate(life_, node_, size); }
  Status punch(uint64_t offset, uint64_t length) override { return volume_.punch(life_, node_, offset, length); }
  Result<FileInfo> info() override { return volume_.info(life_, node_); }

 private:
  // Not members: as in production, the file may be closed while these wait. A node outlives its last close
  // because the waiting counts as one more opening.
  static Task<Result<size_t>> readCold(SimVolume& volume, SimVolume::Life life, SimVolume::NodeId node, uint64_t offset,
                                       kj::ArrayPtr<kj::byte> out) {
    Held held(volume, life, node);
    co_await volume.clock().after(volume.coldReadDelay());
    co_return volume.read(life, node, offset, out, false);
  }
  static Task<Result<size_t>> readDeviceLater(SimVolume& volume, SimVolume::Life life, SimVolume::NodeId node,
                                              uint64_t offset, kj::ArrayPtr<kj::byte> out) {
    Held held(volume, life, node);
    co_await volume.clock().after(volume.coldReadDelay());
    co_return volume.readDevice(life, node, offset, out);
  }
  static Task<Status> syncLater(SimVolume& volume, SimVolume::Life life, SimVolume::NodeId node, std::string path) {
    Held held(volume, life, node);
    auto begun = volume.beginSync(life, node);
    co_await volume.clock().after(volume.syncDelay());
    if (!begun.ok()) {
      co_return begun.error();
    }
    auto ended = volume.endSync(life, begun.value());
    volume.note((ended.ok() ? "sync " : "sync failed ") + path);
    co_return ended;
  }

  struct Held {
    Held(SimVolume& volume, SimVolume::Life life, SimVolume::NodeId node) : volume(volume), life(life), node(node) {
      volume.holdFile(life, node);
    }
    ~Held() noexcept(false) { volume.closeFile(life, node); }
    SimVolume& volume;
    SimVolume::Life life;
    SimVolume::NodeId node;
  };

  SimVolume& volume_;
  SimVolume::Life life_;
  SimVolume::NodeId node_;
  std::string path_;
};

class SimLock final : public DirectoryLock {
 public:
  SimLock(SimVolume& volume, SimVolume::Life life, std::string path)
      : volume_(volume), life_(life), path_(std::move(path)) {}
  ~SimLock() noexcept(false) { volume_.unlock(life_, path_); }

 private:
  SimVolume& volume_;
  SimVolume::Life life_;
  std::string path_;
};

class SimDisk final : public Disk {
 public:
  explicit SimDisk(SimVolume& volume) : volume_(volume), life_(volume.life()) {}

  Result<kj::Own<File>> open(const std::string& path, Mode mode) override {
    auto node = volume_.openFile(life_, path, mode);
    if (!node.ok()) {
      return node.error();
    }
    kj::Own<File> file = kj::heap<SimFile>(volume_, life_, node.value(), path);
    return kj::mv(file);
  }
  Status remove(const std::string& path) override { return volume_.remove(life_, path, false); }
  Status rename(const std::string& from, const std::string& to) override { return volume_.rename(life_, from, to); }
  Status makeDirectory(const std::string& path) override { return volume_.makeDirectory(life_, path); }
  Status removeDirectory(const std::string& path) override { return volume_.remove(life_, path, true); }
  Result<std::vector<std::string>> list(const std::string& path) override { return volume_.list(life_, path); }
  bool exists(const std::string& path) override { return volume_.exists(life_, path); }

  Task<Status> syncDirectory(const std::string& path) override { return syncDirectoryLater(volume_, life_, path); }
  Status syncDirectoryNow(const std::string& path) override { return volume_.syncDirectory(life_, path); }

  Result<kj::Own<DirectoryLock>> lock(const std::string& path) override {
    auto made = volume_.openFile(life_, path, Mode::CREATE);
    if (!made.ok()) {
      return made.error();
    }
    volume_.closeFile(life_, made.value());
    auto locked = volume_.lock(life_, path);
    if (!locked.ok()) {
      return locked.error();
    }
    kj::Own<DirectoryLock> lock = kj::heap<SimLock>(volume_, life_, path);
    return kj::mv(lock);
  }
  Result<DiskSpace> space() override { return volume_.space(life_); }
  std::string hostPath(const std::string& path) const override { return volume_.hostPath(path); }

 private:
  static Task<Status> syncDirectoryLater(SimVolume& volume, SimVolume::Life life, std::string path) {
    co_await volume.clock().after(volume.syncDelay());
    auto synced = volume.syncDirectory(life, path);
    volume.note("sync directory " + path);
    co_return synced;
  }

  SimVolume& volume_;
  SimVolume::Life life_;
};

}  // namespace

kj::Own<Disk> SimVolume::open() {
  return kj::heap<SimDisk>(*this);
}

}  // namespace cairn
