// The namespace capsules and log tails on the disks (rpc/capsule_format.h), and which of them give the newest state.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/disk.h"
#include "rpc/capsule_format.h"

namespace cairn::rescue {

class Capsules {
 public:
  // Frames of a file that is longer than this are not looked at.
  static constexpr uint64_t FILE_BYTES_MAX = uint64_t{64} << 30;

  // Looks at what a volume has; every frame's checksum is checked. `disk` must outlive this. What is damaged is passed
  // over. Of another cluster than `cluster`: not looked at.
  void add(Disk& disk, ClusterId cluster);

  // A state that can be had: of the newest group, as late as possible.
  struct Choice {
    CapsuleId capsule;
    LogIndex end{};       // the last entry after it without a gap
    int64_t seconds = 0;  // when its last part was made, since 1970
  };
  std::optional<Choice> choose() const;

  // Writes the snapshot file of a choice.
  Status writeSnapshot(const CapsuleId& capsule, File& to) const;
  // Shows the entries after the capsule, in order, up to the choice's end.
  Status readTail(const Choice& choice,
                  kj::FunctionParam<Status(LogIndex, Term, kj::ArrayPtr<const kj::byte>)> each) const;
  size_t capsuleCount() const { return capsules_.size(); }

 private:
  struct Place {
    Disk* disk = nullptr;
    std::string path;
    uint64_t offset = 0;
    size_t bytes = 0;
  };
  // Pieces come together from all disks: where one has rotted another is whole.
  struct Capsule {
    uint64_t count = 0;  // of pieces, as an end says; 0: none was found
    int64_t seconds = 0;
    std::map<uint64_t, Place> pieces;
    bool whole() const { return count > 0 && pieces.size() == count && pieces.rbegin()->first + 1 == count; }
  };
  struct Tail {
    uint64_t last = 0;
    int64_t seconds = 0;
    Place place;
  };
  // By the first entry; of several the one that reaches furthest.
  using Tails = std::map<uint64_t, Tail>;

  void addFile(Disk& disk, const std::string& path, ClusterId cluster);
  void take(const Frame& frame, Place place);
  static Result<kj::Array<kj::byte>> load(const Place& place);
  // The frame with an entry; nullptr: there is none.
  const Tail* find(GroupEpoch epoch, uint64_t entry) const;

  std::map<CapsuleId, Capsule> capsules_;
  std::map<GroupEpoch, Tails> tails_;
};

}  // namespace cairn::rescue
