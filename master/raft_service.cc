#include "master/raft_service.h"

#include "master/core.h"
#include "master/raft_entries.h"

namespace cairn {

Group& GroupLine::group() {
  if (group_ == nullptr) {
    kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "this master is stopping"));
  }
  return *group_;
}

namespace {

// A snapshot on its way in.
class SinkService final : public wire::SnapshotSink::Server {
 public:
  SinkService(GroupLine& line, kj::Own<File> file) : line_(kj::addRef(line)), file_(kj::mv(file)) {}

  kj::Promise<void> write(WriteContext context) override {
    auto params = context.getParams();
    line_->group();
    setOutcome(file_->write(params.getOffset(), params.getData()), context.getResults().initOutcome());
    return kj::READY_NOW;
  }
  kj::Promise<void> finish(FinishContext context) override { return take(context); }

 private:
  Task<void> take(FinishContext context) {
    auto message = readMessage(context.getParams().getMessage());
    auto taken = co_await line_->group().takeSnapshot(kj::mv(file_), kj::mv(message));
    setOutcome(taken, context.getResults().initOutcome());
  }

  kj::Own<GroupLine> line_;
  kj::Own<File> file_;
};

class PeerService final : public wire::RaftPeer::Server {
 public:
  PeerService(GroupLine& line, std::string name) : line_(kj::addRef(line)), name_(std::move(name)) {}

  kj::Promise<void> message(MessageContext context) override {
    line_->group().receive(readMessage(context.getParams().getMessage()), name_);
    context.releaseParams();
    return line_->group().receipt();
  }
  kj::Promise<void> snapshot(SnapshotContext context) override {
    auto opened = line_->group().receiveSnapshot(LogIndex{context.getParams().getIndex()});
    auto results = context.getResults();
    if (opened.ok()) {
      results.setSink(kj::heap<SinkService>(*line_, kj::mv(opened.value())));
    } else {
      setOutcome(opened.error(), results.initOutcome());
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> digest(DigestContext context) override {
    auto digest = line_->group().digestAt(LogIndex{context.getParams().getIndex()});
    context.getResults().setKnown(digest.has_value());
    context.getResults().setDigest(digest.value_or(0));
    return kj::READY_NOW;
  }
  kj::Promise<void> differs(DiffersContext context) override {
    line_->group().differs(LogIndex{context.getParams().getIndex()});
    return kj::READY_NOW;
  }

 private:
  kj::Own<GroupLine> line_;
  const std::string name_;
};

}  // namespace

wire::RaftPeer::Client newRaftPeer(GroupLine& line, std::string name) {
  return kj::heap<PeerService>(line, std::move(name));
}

}  // namespace cairn
