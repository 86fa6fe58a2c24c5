#include "rpc/system_network_tls_listener.h"

#include <kj/debug.h>

#include <deque>
#include <map>

#include "common/log.h"

namespace cairn {

void TlsPeers::setRevoked(const std::vector<Revocation>& revoked) {
  revoked_ = revoked;
  for (TlsStream* stream : streams_) {
    const auto& peer = *stream->peer();
    if (isRevoked(revoked_, peer.name, peer.validity.from)) {
      spdlog::warn("the certificate of {} was revoked: its connection is cut off", toText(peer.name));
      stream->sever();
    }
  }
}

kj::Own<kj::AsyncIoStream> TlsPeers::keep(kj::Own<TlsStream> stream) {
  streams_.push_front(stream.get());
  auto entry = kj::heap<Entry>();
  entry->peers = kj::addRef(*this);
  entry->at = streams_.begin();
  return stream.attach(kj::mv(entry));
}

namespace {

constexpr kj::Duration COMPLAINT_INTERVAL = 5 * kj::SECONDS;
constexpr kj::Duration ACCEPT_PAUSE = 100 * kj::MILLISECONDS;

class TlsListener final : public Listener, private kj::TaskSet::ErrorHandler {
 public:
  TlsListener(kj::Own<Listener> listener, kj::Timer& timer, kj::Own<TlsPeers> peers, TlsSource context, bool strangers)
      : listener_(kj::mv(listener)),
        timer_(timer),
        peers_(kj::mv(peers)),
        context_(kj::mv(context)),
        strangers_(strangers),
        tasks_(*this) {
    tasks_.add(run().promise());
  }

  kj::Promise<Accepted> accept() override {
    if (!accepted_.empty()) {
      Accepted first = kj::mv(accepted_.front());
      accepted_.pop_front();
      return kj::mv(first);
    }
    auto paf = kj::newPromiseAndFulfiller<Accepted>();
    waiting_ = kj::mv(paf.fulfiller);
    return kj::mv(paf.promise);
  }
  Address address() const override { return listener_->address(); }

 private:
  Task<void> run() {
    for (;;) {
      bool failed = false;
      try {
        auto arrived = co_await listener_->accept();
        begin(kj::mv(arrived));
      } catch (const kj::Exception& e) {
        complain("somebody", e.getDescription().cStr());
        failed = true;
      }
      if (failed) {
        co_await timer_.afterDelay(ACCEPT_PAUSE);  // no descriptors, say: they come free again
      }
    }
  }

  void begin(Accepted arrived) {
    if (handshakes_.size() >= HANDSHAKES_MAX) {
      handshakes_.begin()->second->fulfill();
    }
    uint64_t number = ++last_;
    auto ended = kj::newPromiseAndFulfiller<void>();
    handshakes_[number] = kj::mv(ended.fulfiller);
    std::string who = arrived.peer.text;
    auto late = timer_.afterDelay(HANDSHAKE_LIMIT).exclusiveJoin(kj::mv(ended.promise)).then([]() -> kj::Promise<void> {
      return KJ_EXCEPTION(DISCONNECTED, "it didn't say in time who it is");
    });
    kj::Promise<void> handshake = letIn(kj::mv(arrived)).promise();
    tasks_.add(handshake.exclusiveJoin(kj::mv(late))
                   .catch_([this, who](kj::Exception&& e) { complain(who, e.getDescription().cStr()); })
                   .attach(kj::defer([this, number] { handshakes_.erase(number); })));
  }

  Task<void> letIn(Accepted arrived) {
    auto stream = co_await tlsAccept(context_(), kj::mv(arrived.stream), strangers_);
    arrived.peer.kind = PeerIdentity::Kind::TCP;
    if (stream->peer()) {
      arrived.peer.trust = PeerIdentity::Trust::CERTIFIED;
      arrived.peer.name = stream->peer()->name;
      arrived.peer.text = toText(arrived.peer.name) + " at " + arrived.peer.text;
      arrived.stream = peers_->keep(kj::mv(stream));
    } else {
      arrived.peer.trust = PeerIdentity::Trust::STRANGER;
      arrived.stream = limited(kj::mv(stream));
    }
    deliver(kj::mv(arrived));
  }

  // Whoever it is has a few seconds.
  kj::Own<kj::AsyncIoStream> limited(kj::Own<TlsStream> stream) {
    if (peers_->strangers >= STRANGERS_MAX) {
      kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many ask for a certificate at the same time"));
    }
    ++peers_->strangers;
    TlsStream& target = *stream;
    auto end = timer_.afterDelay(STRANGER_LIMIT).then([&target] { target.sever(); });
    auto leaving = kj::defer([peers = kj::addRef(*peers_)]() mutable { --peers->strangers; });
    return stream.attach(end.eagerlyEvaluate(nullptr), kj::mv(leaving));
  }

  void deliver(Accepted accepted) {
    KJ_IF_MAYBE (waiting, waiting_) {
      auto fulfiller = kj::mv(*waiting);
      waiting_ = nullptr;
      fulfiller->fulfill(kj::mv(accepted));
    } else {
      accepted_.push_back(kj::mv(accepted));
    }
  }

  // One line for many.
  void complain(const std::string& who, const char* why) {
    auto now = timer_.now();
    if (complained_ && now - complainedAt_ < COMPLAINT_INTERVAL) {
      ++unsaid_;
      return;
    }
    std::string more = unsaid_ == 0 ? "" : "; since the last time " + std::to_string(unsaid_) + " others";
    spdlog::warn("{}: {} is not let in: {}{}", listener_->address(), who, why, more);
    complained_ = true;
    complainedAt_ = now;
    unsaid_ = 0;
  }

  void taskFailed(kj::Exception&& e) override {
    spdlog::error("{}: nobody is let in any more: {}", listener_->address(), e.getDescription().cStr());
  }

  kj::Own<Listener> listener_;
  kj::Timer& timer_;
  kj::Own<TlsPeers> peers_;
  TlsSource context_;
  const bool strangers_;
  std::map<uint64_t, kj::Own<kj::PromiseFulfiller<void>>> handshakes_;  // by age
  uint64_t last_ = 0;
  std::deque<Accepted> accepted_;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<Accepted>>> waiting_;
  bool complained_ = false;
  kj::TimePoint complainedAt_ = kj::origin<kj::TimePoint>();
  uint64_t unsaid_ = 0;
  kj::TaskSet tasks_;
};

}  // namespace

kj::Own<Listener> newTlsListener(kj::Own<Listener> listener, kj::Timer& timer, kj::Own<TlsPeers> peers,
                                 TlsSource context, bool strangers) {
  return kj::heap<TlsListener>(kj::mv(listener), timer, kj::mv(peers), kj::mv(context), strangers);
}

}  // namespace cairn
