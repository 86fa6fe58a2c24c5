// The batching stream: order, sizes around its limits, hostile frames, broken links.
#include "rpc/message_stream.h"

#include <capnp/rpc.capnp.h>
#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <random>

#include "common/system/clock.h"
#include "schema/types.capnp.h"

namespace cairn {
namespace {

struct Pipe {
  kj::EventLoop loop;
  kj::WaitScope wait{loop};
  kj::TwoWayPipe ends = kj::newTwoWayPipe();
};

kj::Own<capnp::MallocMessageBuilder> messageOf(size_t bytes, uint64_t mark) {
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  auto hello = message->initRoot<wire::Hello>();
  hello.setProtocol(static_cast<uint32_t>(mark));
  auto name = hello.initName(bytes);
  memset(name.begin(), 'a' + mark % 26, bytes);
  return message;
}

void expectMessage(capnp::MessageReader& reader, size_t bytes, uint64_t mark) {
  auto hello = reader.getRoot<wire::Hello>();
  EXPECT_EQ(hello.getProtocol(), mark);
  ASSERT_EQ(hello.getName().size(), bytes);
  EXPECT_EQ(hello.getName()[bytes - 1], static_cast<char>('a' + mark % 26));
}

TEST(MessageStream, ManySizesArriveWholeAndInOrder) {
  Pipe pipe;
  auto sender = newBatchingMessageStream(*pipe.ends.ends[0]);
  auto receiver = newBatchingMessageStream(*pipe.ends.ends[1]);
  uint32_t seed = std::random_device{}();
  std::mt19937 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::vector<size_t> sizes = {1, 7, 8, 16 * 1024 - 64, 16 * 1024, 64 * 1024 - 8, 64 * 1024, 64 * 1024 + 8, 1 << 20};
  for (int i = 0; i < 200; ++i) {
    sizes.push_back(1 + random() % (random() % 10 == 0 ? 300000 : 300));
  }
  kj::Vector<kj::Own<capnp::MallocMessageBuilder>> messages;
  kj::Promise<void> sent = kj::READY_NOW;
  for (size_t i = 0; i < sizes.size(); ++i) {
    messages.add(messageOf(sizes[i], i));
    auto* message = messages.back().get();
    sent = sent.then([&sender, message]() { return sender->writeMessage(*message); }).eagerlyEvaluate(nullptr);
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    auto got = receiver->readMessage().wait(pipe.wait);
    expectMessage(*got, sizes[i], i);
  }
  sent.wait(pipe.wait);
}

TEST(MessageStream, SmallMessagesOfOneTurnLeaveInOneWrite) {
  Pipe pipe;
  auto sender = newBatchingMessageStream(*pipe.ends.ends[0]);
  size_t expected = 0;
  for (int i = 0; i < 64; ++i) {
    auto message = messageOf(100, i);
    expected += capnp::computeSerializedSizeInWords(*message) * sizeof(capnp::word);
    sender->writeMessage(*message).wait(pipe.wait);
  }
  auto bytes = kj::heapArray<kj::byte>(expected + 1);
  // A pipe's read of at least one byte returns what one write offered.
  auto got = pipe.ends.ends[1]->tryRead(bytes.begin(), 1, bytes.size()).wait(pipe.wait);
  EXPECT_EQ(got, expected);
}

struct FinishTest {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Clock> clock = newSystemClock(io.provider->getTimer());
  kj::TwoWayPipe ends = kj::newTwoWayPipe();
  kj::Own<capnp::MessageStream> sender = newBatchingMessageStream(*ends.ends[0], {}, *clock);
  kj::Own<capnp::MessageStream> receiver = newBatchingMessageStream(*ends.ends[1]);

  void sendFinish() {
    capnp::MallocMessageBuilder message;
    message.initRoot<capnp::rpc::Message>().initFinish().setQuestionId(7);
    sender->writeMessage(message).wait(io.waitScope);
  }
  bool isFinish(kj::Promise<kj::Own<capnp::MessageReader>>& next) {
    return next.wait(io.waitScope)->getRoot<capnp::rpc::Message>().isFinish();
  }
};

TEST(MessageStream, AFinishWaitsForTheNextMessage) {
  FinishTest t;
  auto first = t.receiver->readMessage();
  t.sendFinish();
  EXPECT_FALSE(first.poll(t.io.waitScope));
  capnp::MallocMessageBuilder call;
  call.initRoot<capnp::rpc::Message>().initCall().setQuestionId(8);
  t.sender->writeMessage(call).wait(t.io.waitScope);
  EXPECT_TRUE(t.isFinish(first)) << "they leave together, in order";
  auto second = t.receiver->readMessage();
  EXPECT_FALSE(t.isFinish(second));
}

TEST(MessageStream, AFinishWithoutCompanyLeavesAlone) {
  FinishTest t;
  auto next = t.receiver->readMessage();
  t.sendFinish();
  EXPECT_TRUE(t.isFinish(next));
}

TEST(MessageStream, AFinishLeavesBeforeTheEnd) {
  FinishTest t;
  t.sendFinish();
  auto ended = t.sender->end();
  auto next = t.receiver->readMessage();
  EXPECT_TRUE(t.isFinish(next));
  ended.wait(t.io.waitScope);
}

TEST(MessageStream, CleanEndIsNoMessage) {
  Pipe pipe;
  auto receiver = newBatchingMessageStream(*pipe.ends.ends[1]);
  pipe.ends.ends[0]->shutdownWrite();
  auto got = receiver->tryReadMessage().wait(pipe.wait);
  EXPECT_TRUE(got == nullptr);
}

std::string failureOf(kj::ArrayPtr<const kj::byte> bytes, FrameLimits limits = {}) {
  Pipe pipe;
  auto receiver = newBatchingMessageStream(*pipe.ends.ends[1], limits);
  auto written = pipe.ends.ends[0]->write(bytes.begin(), bytes.size()).then([&]() {
    pipe.ends.ends[0]->shutdownWrite();
  }).eagerlyEvaluate([](kj::Exception&&) {});
  std::string why;
  KJ_IF_MAYBE(e, kj::runCatchingExceptions([&]() { receiver->tryReadMessage().wait(pipe.wait); })) {
    why = e->getDescription().cStr();
  }
  return why;
}

TEST(MessageStream, HostileFramesAreRefusedBeforeTheParser) {
  const kj::byte ones[] = {0xff, 0xff, 0xff, 0xff};
  EXPECT_NE(failureOf(ones).find("too many segments"), std::string::npos);
  const kj::byte huge[] = {0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f};
  EXPECT_NE(failureOf(huge).find("too large"), std::string::npos);
  const kj::byte rootless[] = {0, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_NE(failureOf(rootless).find("no root"), std::string::npos);
  const kj::byte cut[] = {0, 0, 0, 0, 2, 0, 0, 0, 1};
  EXPECT_NE(failureOf(cut), "");
  const kj::byte headCut[] = {0, 0};
  EXPECT_NE(failureOf(headCut).find("middle of a message"), std::string::npos);
}

TEST(MessageStream, RandomBytesNeverPassTheFrameCheckUnbounded) {
  uint32_t seed = std::random_device{}();
  std::mt19937 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  FrameLimits limits;
  limits.messageBytesMax = 4096;
  for (int i = 0; i < 500; ++i) {
    auto bytes = kj::heapArray<kj::byte>(1 + random() % 200);
    for (auto& b : bytes) {
      b = random() % 4 == 0 ? random() : 0;
    }
    failureOf(bytes, limits);  // must end: a message, an end or a failure, under the sanitizers without a finding
  }
}

TEST(MessageStream, AFailedWriteFailsTheWaitingRead) {
  Pipe pipe;
  auto stream = newBatchingMessageStream(*pipe.ends.ends[0]);
  auto reading = stream->tryReadMessage();
  auto failed =
      reading.then([](auto&&) { return false; }, [](kj::Exception&&) { return true; }).eagerlyEvaluate(nullptr);
  pipe.ends.ends[1]->abortRead();
  auto message = messageOf(100, 1);
  stream->writeMessage(*message).wait(pipe.wait);
  EXPECT_TRUE(failed.wait(pipe.wait));
}

TEST(MessageStream, AQueueBeyondItsBoundBreaksTheStream) {
  Pipe pipe;
  FrameLimits limits;
  limits.queuedBytesMax = 4096;
  auto stream = newBatchingMessageStream(*pipe.ends.ends[0], limits);
  for (int i = 0; i < 100; ++i) {
    auto message = messageOf(100, i);
    stream->writeMessage(*message).catch_([](kj::Exception&&) {}).wait(pipe.wait);
  }
  auto message = messageOf(100, 1);
  EXPECT_THROW(stream->writeMessage(*message).wait(pipe.wait), kj::Exception);
}

}  // namespace
}  // namespace cairn
