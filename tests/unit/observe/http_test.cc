// The small HTTP server, over the simulated network.
#include "rpc/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/sim/world/world.h"

namespace cairn {
namespace {

using testing::HasSubstr;
using testing::Not;

class Pages final : public HttpPages {
 public:
  kj::Promise<HttpReply> get(std::string path) override {
    ++asked;
    if (path == "/stuck") {
      return kj::NEVER_DONE;
    }
    if (path == "/broken") {
      return KJ_EXCEPTION(FAILED, "a secret of the inside");
    }
    return HttpReply{200, "text/plain", "you asked for " + path + "\n"};
  }
  unsigned asked = 0;
};

struct HttpWorld {
  HttpWorld() {
    auto listener = world.network().host("m1").listen("m1:80");
    door = serveHttp(world.clock(), kj::mv(listener.value()), pages);
  }

  // All that comes back until the connection ends, or nothing more comes.
  std::string ask(const std::string& request, Nanos limit = 30 * SECOND) {
    auto stream = world.await(world.network().host("client").connect("m1:80", std::nullopt), SECOND);
    world.await(stream->write(request.data(), request.size()), SECOND);
    std::string out;
    char bytes[4096];
    Nanos end = world.clock().monotonic() + limit;
    while (world.clock().monotonic() < end) {
      auto none = world.clock().after(SECOND).then([] { return size_t{0}; });
      auto read = stream->tryRead(bytes, 1, sizeof(bytes)).exclusiveJoin(kj::mv(none));
      size_t got = world.await(kj::mv(read), 10 * SECOND);
      if (got == 0 && !out.empty()) {
        break;
      }
      out.append(bytes, got);
    }
    return out;
  }
  std::string get(const std::string& path) { return ask("GET " + path + " HTTP/1.1\r\nHost: m1\r\n\r\n"); }

  World world{1};
  Pages pages;
  kj::Own<HttpDoor> door;
};

TEST(HttpServer, ServesPagesWithoutTheirQuery) {
  HttpWorld http;
  std::string got = http.get("/status.json?x=1");
  EXPECT_THAT(got, HasSubstr("200 OK"));
  EXPECT_THAT(got, HasSubstr("you asked for /status.json\n"));
  EXPECT_THAT(got, HasSubstr("Content-Security-Policy: default-src 'self'"));
}

TEST(HttpServer, IsReadOnly) {
  HttpWorld http;
  std::string got = http.ask("POST / HTTP/1.1\r\nHost: m1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_THAT(got, HasSubstr("405"));
  EXPECT_EQ(http.pages.asked, 0u);
}

TEST(HttpServer, HeadHasNoBody) {
  HttpWorld http;
  std::string got = http.ask("HEAD /metrics HTTP/1.1\r\nHost: m1\r\n\r\n");
  EXPECT_THAT(got, HasSubstr("200 OK"));
  EXPECT_THAT(got, Not(HasSubstr("you asked")));
}

TEST(HttpServer, WhatFailsInsideStaysInside) {
  HttpWorld http;
  std::string got = http.get("/broken");
  EXPECT_THAT(got, HasSubstr("503"));
  EXPECT_THAT(got, Not(HasSubstr("secret")));
}

TEST(HttpServer, ARequestThatHangsIsCutOff) {
  HttpWorld http;
  Nanos before = http.world.clock().monotonic();
  std::string got = http.get("/stuck");
  EXPECT_THAT(got, Not(HasSubstr("200 OK")));
  EXPECT_LE(http.world.clock().monotonic() - before, HTTP_REQUEST_LIMIT + 20 * SECOND);
  EXPECT_THAT(http.get("/next"), HasSubstr("200 OK"));
}

TEST(HttpServer, GarbageEndsItsOwnConnectionOnly) {
  HttpWorld http;
  http.ask(std::string(100, '\xff') + "\r\n\r\n");
  EXPECT_THAT(http.get("/next"), HasSubstr("200 OK"));
}

TEST(HttpServer, ManyIdleConnectionsDontKeepOthersOut) {
  HttpWorld http;
  std::vector<kj::Own<kj::AsyncIoStream>> idle;
  for (uint32_t i = 0; i < HTTP_CONNECTIONS_MAX + 8; ++i) {
    idle.push_back(http.world.await(http.world.network().host("client").connect("m1:80", std::nullopt), SECOND));
  }
  http.world.await(http.world.clock().after(20 * SECOND), 30 * SECOND);  // longer than a header may take
  EXPECT_THAT(http.get("/next"), HasSubstr("200 OK"));
}

TEST(HttpServer, OnLoopbackOnlyLoopbackNamesMayAsk) {
  EXPECT_TRUE(mayAsk("127.0.0.1:8080", "localhost:8080"));
  EXPECT_TRUE(mayAsk("127.0.0.1:8080", "127.0.0.1:8080"));
  EXPECT_TRUE(mayAsk("[::1]:8080", "[::1]:8080"));
  EXPECT_FALSE(mayAsk("127.0.0.1:8080", "attacker.example:8080"));
  EXPECT_FALSE(mayAsk("127.0.0.1:8080", ""));
  EXPECT_TRUE(mayAsk("10.0.0.5:8080", "cairn.example:8080"));
}

}  // namespace
}  // namespace cairn
