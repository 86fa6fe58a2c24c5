// ChunkLinks: one connection per chunkserver, made when first needed and made again after it broke, with a
// growing pause between tries. Prefers a server's Unix socket when it is on this host.
#pragma once
#include <kj/async.h>

#include <map>
#include <string>
#include <vector>

#include "common/cluster_file.h"
#include "common/task.h"
#include "fuse-client/client/buffer.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/map_holder.h"
#include "rpc/connection.h"
#include "rpc/shard_map.h"
#include "schema/chunk.capnp.h"

namespace cairn {

// The connection to one chunkserver. Lives as long as the client; what it is connected to changes.
class ChunkLink final : public kj::TaskSet::ErrorHandler {
 public:
  ChunkLink(Context& context, const ClusterFile& cluster, ServerId server);
  ~ChunkLink() noexcept(false);
  KJ_DISALLOW_COPY(ChunkLink);

  // True when there is a connection to this incarnation; client() is for calls made in the same turn.
  bool isReady(const ServerRecord& record);
  wire::ChunkService::Client client() { return live_->service; }
  // Connects. Rejects with DISCONNECTED when that fails, and without trying while the pause after a failure lasts.
  kj::Promise<void> connected(const ServerRecord& record);

  // Runs a call whose message points into `lent`: keeps them until no message can point into them any more, that is
  // until the answer came or the connection is gone. Dropping the result doesn't withdraw the call.
  // REQUIRES: `call` was made in this turn with client().
  template <typename T>
  kj::Promise<T> lend(kj::Promise<T> call, std::vector<kj::Own<Buffer>> lent) {
    auto paf = kj::newPromiseAndFulfiller<T>();
    uint64_t key = nextLoan_++;
    Live& live = *live_;
    live.loans[key] = kj::mv(lent);
    auto& done = *paf.fulfiller;
    auto arrived = [&live, key, &done](T&& result) {
      live.loans.erase(key);
      done.fulfill(kj::mv(result));
    };
    auto failed = [&done](kj::Exception&& e) { done.reject(kj::mv(e)); };
    auto dropped = kj::defer([&done] {
      if (done.isWaiting()) {
        done.reject(KJ_EXCEPTION(DISCONNECTED, "the connection to the chunkserver was given up"));
      }
    });
    live.calls.add(call.then(kj::mv(arrived), kj::mv(failed)).attach(kj::mv(dropped)).attach(kj::mv(paf.fulfiller)));
    return kj::mv(paf.promise);
  }

 private:
  static constexpr Nanos CONNECT_LIMIT = 2 * SECOND;

  // One established connection. Members end in the reverse order: first the calls, then the link with every
  // message queued in it, then the memory that those messages point into.
  struct Live final : public kj::TaskSet::ErrorHandler {
    Live(kj::Own<Link> link, Incarnation incarnation, wire::ChunkService::Client service)
        : link(kj::mv(link)), incarnation(incarnation), service(kj::mv(service)), calls(*this) {}
    void taskFailed(kj::Exception&&) override {}  // every call's failure went to its caller

    std::map<uint64_t, std::vector<kj::Own<Buffer>>> loans;
    kj::Own<Link> link;
    Incarnation incarnation;
    wire::ChunkService::Client service;
    kj::TaskSet calls;
    kj::Promise<void> watch = nullptr;
  };

  Task<void> connect(ServerRecord record);
  Task<bool> connectTo(const ServerRecord& record, Address address);
  void close();
  void taskFailed(kj::Exception&& e) override;

  Context& context_;
  const ClusterFile& cluster_;
  const ServerId server_;
  kj::Own<Live> live_;
  kj::ForkedPromise<void> attempt_ = nullptr;
  bool attempting_ = false;
  Incarnation attempted_;
  unsigned tries_ = 0;
  Nanos retryAt_ = 0;
  uint64_t nextLoan_ = 0;
  kj::Own<kj::TaskSet> ending_;  // closed connections, until the end of the turn
};

class ChunkLinks {
 public:
  ChunkLinks(Context& context, const ClusterFile& cluster) : context_(context), cluster_(cluster) {}

  ChunkLink& to(ServerId server);

 private:
  Context& context_;
  const ClusterFile& cluster_;
  std::map<ServerId, kj::Own<ChunkLink>> links_;
};

}  // namespace cairn
