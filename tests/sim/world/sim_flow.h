// One direction of a simulated connection: bytes on their way, bytes that have arrived, and how it ended.
#pragma once
#include <kj/async-io.h>
#include <kj/refcount.h>

#include <deque>
#include <string>

#include "tests/sim/world/sim_network.h"

namespace cairn {

class SimFlow final : public kj::Refcounted {
 public:
  // Bytes sent and not yet read beyond which a writer waits.
  static constexpr size_t WINDOW_BYTES = 1 << 20;

  SimFlow(SimNetwork& network, std::string from, std::string to);
  ~SimFlow() noexcept(false);

  // ---- the writer's end ----
  kj::Promise<void> write(kj::Array<kj::byte> bytes);
  // Nothing more comes. With `gone` the other direction isn't read any more either.
  void finish(bool gone);
  kj::Promise<void> whenBroken();

  // ---- the reader's end ----
  kj::Promise<size_t> read(kj::byte* buffer, size_t minBytes, size_t maxBytes);
  void abandonReading();

  // ---- the network's hand ----
  // The direction back, which learns that this one's writer is gone.
  void setPeer(SimFlow& peer) { peer_ = &peer; }
  void clearPeer() { peer_ = nullptr; }
  void breakNow(const char* why);
  void blackhole() { blackholed_ = true; }
  bool blackholed() const { return blackholed_; }
  // Starts delivery again after a change of the topology.
  void resume() { schedule(); }
  const std::string& from() const { return from_; }
  const std::string& to() const { return to_; }

 private:
  struct Segment {
    kj::Array<kj::byte> bytes;
    bool end = false;
    bool gone = false;
    Nanos arrival = 0;
  };

  void send(Segment segment);
  void schedule();
  void deliver();
  void arrive(Segment segment);
  size_t take(kj::byte* buffer, size_t maxBytes);
  void wakeReader();
  void wakeWriter();
  kj::Exception broken() const { return KJ_EXCEPTION(DISCONNECTED, "simulated connection", brokenWhy_); }

  SimNetwork& network_;
  uint64_t id_;
  std::string from_;
  std::string to_;
  SimFlow* peer_ = nullptr;
  std::deque<Segment> onTheWay_;
  std::deque<kj::Array<kj::byte>> arrived_;
  size_t headTaken_ = 0;    // of arrived_.front()
  size_t unreadBytes_ = 0;  // on the way and arrived
  bool finished_ = false;   // by the writer
  bool ended_ = false;      // the end has arrived
  bool abandoned_ = false;  // by the reader
  bool blackholed_ = false;
  bool scheduled_ = false;
  bool broken_ = false;
  const char* brokenWhy_ = "";
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> reader_;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> writer_;
  kj::PromiseFulfillerPair<void> brokenPair_;
  kj::ForkedPromise<void> brokenBranches_;
};

// Both directions, seen from one end.
class SimSocket final : public kj::AsyncIoStream {
 public:
  SimSocket(kj::Own<SimFlow> out, kj::Own<SimFlow> in) : out_(kj::mv(out)), in_(kj::mv(in)) {}
  ~SimSocket() noexcept(false);

  kj::Promise<size_t> tryRead(void* buffer, size_t minBytes, size_t maxBytes) override;
  kj::Promise<void> write(const void* buffer, size_t size) override;
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override;
  kj::Promise<void> whenWriteDisconnected() override { return out_->whenBroken(); }
  void shutdownWrite() override { out_->finish(false); }
  void abortRead() override { in_->abandonReading(); }

 private:
  kj::Own<SimFlow> out_;
  kj::Own<SimFlow> in_;
};

}  // namespace cairn
