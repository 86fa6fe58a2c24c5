// Our own stream over real sockets: everything arrives, however it is cut; ends and breaks are noticed.
#include "rpc/system_network_stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

#include "rpc/system_network.h"

namespace cairn {
namespace {

struct Sockets {
  explicit Sockets(bool tcp) {
    auto network = newPlainNetwork(io);
    const std::string path = "/tmp/cairn-stream-" + std::to_string(getpid());
    auto listener = network->listen(tcp ? "127.0.0.1:0" : "unix:" + path).value();
    auto accepted = listener->accept();
    near = network->connect(listener->address(), std::nullopt).wait(io.waitScope);
    auto peer = accepted.wait(io.waitScope);
    far = kj::mv(peer.stream);
    unlink(path.c_str());  // who is connected needs it no more
  }
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<kj::AsyncIoStream> near, far;
};

class SocketStream : public ::testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<Sockets> made_ = std::make_unique<Sockets>(GetParam());
  Sockets& sockets_ = *made_;
  kj::WaitScope& scope() { return sockets_.io.waitScope; }
};

kj::Array<kj::byte> randomBytes(std::mt19937& random, size_t size) {
  auto bytes = kj::heapArray<kj::byte>(size);
  for (auto& byte : bytes) {
    byte = static_cast<kj::byte>(random());
  }
  return bytes;
}

TEST_P(SocketStream, CarriesMegabytesBothWaysInPiecesOfAnySize) {
  uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  constexpr size_t BYTES = 5 << 20;  // more than both sockets' buffers hold
  for (auto* ends : {&sockets_.near, &sockets_.far}) {
    auto& from = **ends;
    auto& to = ends == &sockets_.near ? *sockets_.far : *sockets_.near;
    auto sent = randomBytes(random, BYTES);
    std::vector<kj::ArrayPtr<const kj::byte>> pieces;
    for (size_t at = 0; at < BYTES;) {
      size_t size = std::min<size_t>(BYTES - at, random() % 3 == 0 ? random() % 500'000 : random() % 3000);
      pieces.push_back(sent.slice(at, at + size));
      at += size;
    }
    auto written = from.write(kj::arrayPtr(pieces.data(), pieces.size())).eagerlyEvaluate(nullptr);
    auto got = kj::heapArray<kj::byte>(BYTES);
    for (size_t at = 0; at < BYTES;) {
      size_t most = std::min<size_t>(BYTES - at, 1 + random() % 200'000);
      at += to.tryRead(got.begin() + at, 1 + random() % most, most).wait(scope());
    }
    written.wait(scope());
    EXPECT_TRUE(sent == got);
  }
}

TEST_P(SocketStream, AReadThatWasDroppedLosesNothing) {
  char buffer[8];
  {
    auto dropped = sockets_.far->tryRead(buffer, 1, sizeof(buffer));
    EXPECT_FALSE(dropped.poll(scope()));
  }
  sockets_.near->write("abc", 3).wait(scope());
  EXPECT_EQ(sockets_.far->tryRead(buffer, 3, sizeof(buffer)).wait(scope()), 3u);
  // Arrives while nobody reads, and the loop looks at the socket.
  sockets_.near->write("def", 3).wait(scope());
  sockets_.io.provider->getTimer().afterDelay(kj::MILLISECONDS).wait(scope());
  EXPECT_EQ(sockets_.far->tryRead(buffer, 1, sizeof(buffer)).wait(scope()), 3u);
}

TEST_P(SocketStream, TheEndComesAfterTheLastBytes) {
  char buffer[8];
  auto first = sockets_.far->tryRead(buffer, 1, sizeof(buffer));
  sockets_.near->write("xy", 2).wait(scope());
  EXPECT_EQ(first.wait(scope()), 2u);
  sockets_.near->shutdownWrite();
  EXPECT_EQ(sockets_.far->tryRead(buffer, 1, sizeof(buffer)).wait(scope()), 0u);
}

TEST_P(SocketStream, AnEndReportedTogetherWithTheLastBytesIsSeen) {
  char buffer[8];
  auto first = sockets_.far->tryRead(buffer, 1, sizeof(buffer));
  sockets_.near->write("xy", 2).wait(scope());
  sockets_.near->shutdownWrite();
  EXPECT_EQ(first.wait(scope()), 2u);
  EXPECT_EQ(sockets_.far->tryRead(buffer, 1, sizeof(buffer)).wait(scope()), 0u);
}

TEST_P(SocketStream, APeerThatVanishesIsADisconnection) {
  sockets_.far = nullptr;
  auto big = kj::heapArray<kj::byte>(8 << 20);
  auto failure = kj::runCatchingExceptions([&] { sockets_.near->write(big.begin(), big.size()).wait(scope()); });
  KJ_IF_MAYBE (e, failure) {
    EXPECT_EQ(e->getType(), kj::Exception::Type::DISCONNECTED);
  } else {
    FAIL() << "eight megabytes went nowhere";
  }
  sockets_.near->whenWriteDisconnected().wait(scope());
}

INSTANTIATE_TEST_SUITE_P(Unix, SocketStream, ::testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Tcp, SocketStream, ::testing::Values(true));

}  // namespace
}  // namespace cairn
