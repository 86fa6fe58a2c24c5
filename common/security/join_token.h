// A token lets one new node into a cluster: it says where the masters are, how to know them (the authority's
// fingerprint), and a secret that is good once, for one role and name, for a short while. Pure.
#pragma once
#include <string>
#include <vector>

#include "common/security/identity.h"

namespace cairn {

struct JoinToken {
  CertifiedName name;                // of who may come
  std::string authority;             // SHA-256 of the authority's certificate
  std::string secret;                // of which the cluster keeps only the digest
  std::vector<std::string> masters;  // host:port
};

constexpr size_t JOIN_SECRET_BYTES = 24;
constexpr size_t JOIN_TOKEN_CHARS_MAX = 4096;

std::string writeJoinToken(const JoinToken& token);
// A token that was copied with a part missing is told from a wrong one.
Result<JoinToken> readJoinToken(const std::string& text);

}  // namespace cairn
