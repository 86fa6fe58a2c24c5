// NameGate: which names are about to stand for another inode. Whoever removes a name must tell the log who holds its
// inode open, so it must know the inode: it waits here until no change under way can put another one in its place.
#pragma once
#include <kj/async.h>

#include <array>
#include <string_view>
#include <unordered_map>

#include "common/ids.h"
#include "schema/master.capnp.h"

namespace cairn {

class NameGate {
 public:
  // What an operation does to names.
  struct Plan {
    // Names that may come to stand for another inode.
    std::array<uint64_t, 2> places{};
    uint8_t placesCount = 0;
    // The name whose inode may lose its last one.
    bool removes = false;
    InodeId parent{};
    capnp::Data::Reader name;
    // Names whose inodes the operation is about, that one among them.
    std::array<uint64_t, 2> meant{};
    uint8_t meantCount = 0;
  };
  static Plan planOf(wire::Op::Reader op);

  // Whether nothing under way places an inode at a name that is meant.
  bool isClear(const Plan& plan) const;
  // Resolves when it may have become so. REQUIRES: it isn't.
  kj::Promise<void> whenClear(const Plan& plan);

  // Keeps a plan's places marked for as long as it lives. The gate must outlive it.
  class Pass {
   public:
    Pass(NameGate& gate, const Plan& plan);
    ~Pass() noexcept(false);
    KJ_DISALLOW_COPY(Pass);

   private:
    NameGate& gate_;
    std::array<uint64_t, 2> places_;
    uint8_t count_;
  };

 private:
  struct Busy {
    uint32_t count = 0;
    kj::Maybe<kj::ForkedPromise<void>> cleared;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };
  static uint64_t key(InodeId parent, capnp::Data::Reader name);

  std::unordered_map<uint64_t, Busy> busy_;
};

}  // namespace cairn
