#include "master/name_gate.h"

#include <kj/debug.h>

#include <algorithm>

#include "common/checksum.h"

namespace cairn {
namespace {

// Of renameat2(2).
constexpr uint32_t NO_REPLACE = 1;
constexpr uint32_t EXCHANGE = 2;
constexpr uint32_t WHITEOUT = 4;

}  // namespace

uint64_t NameGate::key(InodeId parent, capnp::Data::Reader name) {
  return hash64(name, raw(parent));
}

NameGate::Plan NameGate::planOf(wire::Op::Reader op) {
  Plan plan;
  auto place = [&plan](uint64_t parent, capnp::Data::Reader name) {
    plan.places[plan.placesCount++] = key(InodeId{parent}, name);
  };
  auto mean = [&plan](uint64_t parent, capnp::Data::Reader name) {
    plan.meant[plan.meantCount++] = key(InodeId{parent}, name);
  };
  auto remove = [&plan](uint64_t parent, capnp::Data::Reader name) {
    plan.removes = true;
    plan.parent = InodeId{parent};
    plan.name = name;
  };
  switch (op.which()) {
    case wire::Op::MAKE:
      if (op.getMake().getUnnamed()) {
        break;
      }
      place(op.getMake().getParent(), op.getMake().getName());
      break;
    case wire::Op::LINK:
      place(op.getLink().getParent(), op.getLink().getName());
      break;
    case wire::Op::UNLINK:
      mean(op.getUnlink().getParent(), op.getUnlink().getName());
      remove(op.getUnlink().getParent(), op.getUnlink().getName());
      break;
    case wire::Op::RENAME: {
      auto rename = op.getRename();
      mean(rename.getParent(), rename.getName());
      mean(rename.getNewParent(), rename.getNewName());
      place(rename.getNewParent(), rename.getNewName());
      if (rename.getFlags() & (EXCHANGE | WHITEOUT)) {
        place(rename.getParent(), rename.getName());
      }
      if ((rename.getFlags() & (EXCHANGE | NO_REPLACE)) == 0) {
        remove(rename.getNewParent(), rename.getNewName());
      }
      break;
    }
    case wire::Op::DETACH:  // a directory: nobody holds it as an open file is held
      mean(op.getDetach().getParent(), op.getDetach().getName());
      break;
    default:
      break;
  }
  return plan;
}

bool NameGate::isClear(const Plan& plan) const {
  return std::none_of(plan.meant.begin(), plan.meant.begin() + plan.meantCount,
                      [this](uint64_t name) { return busy_.contains(name); });
}

kj::Promise<void> NameGate::whenClear(const Plan& plan) {
  auto it = busy_.end();
  for (uint8_t i = 0; i < plan.meantCount && it == busy_.end(); ++i) {
    it = busy_.find(plan.meant[i]);
  }
  KJ_ASSERT(it != busy_.end());
  if (it->second.cleared == nullptr) {
    auto paf = kj::newPromiseAndFulfiller<void>();
    it->second.cleared = paf.promise.fork();
    it->second.fulfiller = kj::mv(paf.fulfiller);
  }
  return KJ_ASSERT_NONNULL(it->second.cleared).addBranch();
}

NameGate::Pass::Pass(NameGate& gate, const Plan& plan) : gate_(gate), places_(plan.places), count_(plan.placesCount) {
  for (uint8_t i = 0; i < count_; ++i) {
    ++gate_.busy_[places_[i]].count;
  }
}

NameGate::Pass::~Pass() noexcept(false) {
  for (uint8_t i = 0; i < count_; ++i) {
    auto it = gate_.busy_.find(places_[i]);
    if (--it->second.count == 0) {
      if (it->second.fulfiller.get() != nullptr) {
        it->second.fulfiller->fulfill();
      }
      gate_.busy_.erase(it);
    }
  }
}

}  // namespace cairn
